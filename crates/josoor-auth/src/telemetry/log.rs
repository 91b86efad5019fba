//! Log lines: one line an event, on standard error, with the ids of the request and of its trace.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::scope::Scope;
use super::traces::trace::Trace;
use crate::clock::Clock;
use crate::telemetry::codes;

/// The format of log lines. Either way an event is exactly one line, whatever its values contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Text,
    /// One JSON object per line, for a collector.
    Json,
}

/// The thread that writes the log, once it was started.
static WORKER: Mutex<Option<WorkerGuard>> = Mutex::new(None);

/// Lines that may wait for the thread. When there are more, the threads that log wait, so that no line is lost.
const WAITING_LINES: usize = 4096;

/// Ends the log before the program ends: waits, a second at most, until all lines are written.
pub fn flush() {
    drop(WORKER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Starts a thread that writes lines, so that no request waits for the reader of the log.
fn start_writer(out: impl io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .thread_name("log")
        .lossy(false)
        .buffered_lines_limit(WAITING_LINES)
        // Lines that wait are written together; the thread flushes when none is left.
        .finish(BufWriter::new(out))
}

/// Starts the log, on standard error, and sends panics there as well.
///
/// `filter` is a list of directives such as `info,sqlx=warn`. Fails when it does not parse, or when a log was started
/// before.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("the log filter `{filter}` is not valid: {error}"))?;
    let (writer, worker) = start_writer(io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .event_format(format)
        .try_init()
        .map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    *WORKER.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(code = codes::PANIC, place, message, "panic");
        // A panic of another thread is survived; this one ends the program.
        if thread::current().name() == Some("main") {
            flush();
        }
    }));
    Ok(())
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (now, metadata) = (Clock::System.now(), event.metadata());
        let mut values = Values::of(*self);
        event.record(&mut values);
        let scope = Scope::with(|scope| Some((scope.request, scope.trace.as_ref().map(Trace::id))));
        let (request, trace) = scope.unwrap_or_default();
        match self {
            Self::Json => {
                write!(
                    writer,
                    r#"{{"timestamp":"{now}","level":"{}","target":"{}","message":"{}""#,
                    metadata.level(),
                    Escaped(metadata.target()),
                    values.message,
                )?;
                if let Some(request) = request {
                    write!(writer, r#","request_id":"{}""#, Escaped(request.as_str()))?;
                }
                if let Some(trace) = trace {
                    write!(writer, r#","trace_id":"{trace}""#)?;
                }
                if !values.line.is_empty() {
                    write!(writer, r#","fields":{{{}}}"#, values.line)?;
                }
                writeln!(writer, "}}")
            }
            Self::Text => {
                write!(
                    writer,
                    "{now} {:>5} {}: {}",
                    metadata.level(),
                    Escaped(metadata.target()),
                    values.message
                )?;
                if !values.line.is_empty() {
                    write!(writer, " {}", values.line)?;
                }
                if let Some(request) = request {
                    write!(writer, " request_id={}", Escaped(request.as_str()))?;
                }
                if let Some(trace) = trace {
                    write!(writer, " trace_id={trace}")?;
                }
                writeln!(writer)
            }
        }
    }
}

impl LogFormat {
    const fn separator(self) -> char {
        match self {
            Self::Text => ' ',
            Self::Json => ',',
        }
    }
}

/// Collects the message and the other values of an event, already escaped.
struct Values {
    format: LogFormat,
    message: String,
    line: String,
}

impl Values {
    fn of(format: LogFormat) -> Self {
        Self {
            format,
            message: String::new(),
            line: String::new(),
        }
    }

    fn name(&mut self, field: &Field) {
        if !self.line.is_empty() {
            self.line.push(self.format.separator());
        }
        let _ = match self.format {
            LogFormat::Json => write!(self.line, "\"{}\":", Escaped(field.name())),
            LogFormat::Text => write!(self.line, "{}=", Escaped(field.name())),
        };
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.line, "{value}");
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" && self.message.is_empty() {
            let _ = write!(self.message, "{}", Escaped(value));
            return;
        }
        self.name(field);
        let plain = self.format == LogFormat::Text && !value.is_empty() && !value.contains([' ', '"', '=']);
        let _ = if plain {
            write!(self.line, "{}", Escaped(value))
        } else {
            write!(self.line, "\"{}\"", Escaped(value))
        };
    }
}

impl Visit for Values {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(chain, ": {error}");
            cause = error.source();
        }
        self.text(field, &chain);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

/// A text that stays on one line and moves no cursor: quotes, backslashes, controls and invisible characters are
/// written as in JSON (RFC 8259, 7). A forged line or a terminal's escape sequence stays visible text (CWE-117).
struct Escaped<'text>(&'text str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // All of these lie below U+10000, so four digits suffice.
                hidden if is_invisible(hidden) => {
                    write!(f, "\\u{:04x}", u32::from(hidden))?;
                }
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// Controls, line separators and the characters that reorder text (Unicode Bidi, UAX 9).
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::domain::RequestId;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(format)
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().expect("unpoisoned").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn of_request() -> Scope {
        Scope::of_request(RequestId::parse("id-1").expect("an id"), None)
    }

    const HOSTILE: &str = "a\r\nINFO forged \u{1b}[31m \u{2028} \u{202e} \u{85} \u{0} \" \\ =";

    #[test]
    fn a_json_event_is_one_line_that_parses() {
        let text = logged(LogFormat::Json, || {
            of_request().run_sync(|| {
                tracing::info!(user_agent = HOSTILE, status = 200_u16, client = ?None::<u8>, "hello {HOSTILE}");
            });
        });
        assert_eq!(text.matches(char::is_control).count(), 1, "{text:?}");
        assert!(!text.contains(['\u{2028}', '\u{202e}']));
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(event["request_id"], "id-1");
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], format!("hello {HOSTILE}"));
        assert_eq!(event["fields"]["user_agent"], HOSTILE);
        assert_eq!(event["fields"]["status"], 200);
        assert!(event["timestamp"].as_str().expect("a text").ends_with('Z'));
    }

    #[test]
    fn a_text_event_is_one_line() {
        let text = logged(LogFormat::Text, || {
            of_request().run_sync(|| {
                tracing::info!(user_agent = HOSTILE, route = "/auth/me", "hello {HOSTILE}");
            });
        });
        assert_eq!(text.matches(char::is_control).count(), 1, "{text:?}");
        assert!(
            text.contains("route=/auth/me") && text.contains("request_id=id-1"),
            "{text}"
        );
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let text = logged(LogFormat::Json, || {
            let error = io::Error::other(crate::error::Error::NotFound);
            tracing::error!(
                error = &error as &(dyn std::error::Error + 'static),
                ratio = f64::NAN,
                "failed"
            );
        });
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            event["fields"]["error"]
                .as_str()
                .expect("a text")
                .contains("not found")
        );
        assert_eq!(event["fields"]["ratio"], "NaN");
    }

    /// Keeps what is written, and holds every write until it is released.
    struct Held(Arc<Mutex<Vec<u8>>>, mpsc::Receiver<()>);

    impl io::Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.recv();
            self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_none_is_lost() {
        let (text, (go, held)) = (Arc::<Mutex<Vec<u8>>>::default(), mpsc::channel());
        let (log, worker) = start_writer(Held(Arc::clone(&text), held));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let mut log = log.clone();
                scope.spawn(move || {
                    for line in 0..10_000 {
                        // Long enough that the bound is met.
                        let line = format!("{thread} {line} {}\n", "x".repeat(40));
                        log.write_all(line.as_bytes()).expect("taken");
                    }
                });
            }
            drop(go);
        });
        drop(worker);
        let text = String::from_utf8(text.lock().expect("unpoisoned").clone()).expect("UTF-8");
        let mut next = [0; 4];
        for line in text.lines() {
            let mut parts = line.split(' ');
            let thread: usize = parts.next().and_then(|part| part.parse().ok()).expect("a thread");
            assert_eq!(parts.next(), Some(next[thread].to_string().as_str()), "{line}");
            assert_eq!(parts.next().map(str::len), Some(40));
            next[thread] += 1;
        }
        assert_eq!(next, [10_000; 4]);
    }
}
