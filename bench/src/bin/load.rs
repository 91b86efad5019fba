//! Load over HTTP/1.1, and one line of JSON about it.
//!
//! ```text
//! load URL --connections N --seconds S [--rate R] [--method M] [--header 'NAME: VALUE']… [--bodies FILE] [--refresh]
//!   [--tokens FILE] [--punctual]
//! ```
//!
//! Without `--rate` each connection asks again as soon as it was answered. With it, requests are due at fixed times, whatever
//! became of those before, and a request's latency counts from when it was due: a server that stalls cannot hide the
//! requests that it kept from being sent (coordinated omission). They are up to a millisecond late; with `--punctual` each
//! connection has a thread of its own, which wakes in time but costs too much for high rates. `--bodies` has one body a line,
//! which connections take in turn; `--tokens` the same with bearer tokens. With `--refresh` the lines are refresh tokens, one for each connection,
//! which goes on with the token that it is given.
//!
//! Latencies are in microseconds. `refused` counts 503, with latencies of their own; `failed` everything else that is not 2xx.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Default)]
struct Options {
    host: String,
    path: String,
    connections: usize,
    seconds: f64,
    rate: Option<f64>,
    method: String,
    headers: String,
    bodies: Vec<String>,
    tokens: Vec<String>,
    refresh: bool,
    punctual: bool,
}

fn options() -> Outcome<Options> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments
        .next()
        .ok_or("usage: load URL --connections N --seconds S …")?;
    let rest = url.strip_prefix("http://").ok_or("the URL begins with http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let mut options = Options {
        host: host.to_owned(),
        path: path.to_owned(),
        connections: 1,
        seconds: 1.0,
        method: "GET".to_owned(),
        ..Options::default()
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} wants a value"));
        match name.as_str() {
            "--connections" => options.connections = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--rate" => options.rate = Some(value()?.parse()?),
            "--method" => options.method = value()?,
            "--header" => options.headers += &format!("{}\r\n", value()?),
            "--bodies" => options.bodies = lines(&value()?)?,
            "--tokens" => options.tokens = lines(&value()?)?,
            "--refresh" => options.refresh = true,
            "--punctual" => options.punctual = true,
            _ => return Err(format!("{name} is no option").into()),
        }
    }
    Ok(options)
}

fn lines(file: &str) -> Outcome<Vec<String>> {
    Ok(std::fs::read_to_string(file)?
        .lines()
        .map(str::to_owned)
        .collect())
}

#[derive(Default)]
struct Tally {
    good: Vec<u32>,
    refused: Vec<u32>,
    failed: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.good.extend(other.good);
        self.refused.extend(other.refused);
        self.failed += other.failed;
    }
}

fn main() -> Outcome {
    let options = Arc::new(options()?);
    let begun = Instant::now();
    let tally = run(&options, begun)?;
    println!("{}", report(tally, begun.elapsed().as_secs_f64()));
    Ok(())
}

/// On a thread for each core, none of which ever waits for another one, unless each connection is to have its own: what the
/// load costs is missing from the server.
fn run(options: &Arc<Options>, begun: Instant) -> Outcome<Tally> {
    let threads = if options.punctual {
        options.connections
    } else {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    };
    let turn = Arc::new(AtomicUsize::new(0));
    let mut all = Tally::default();
    let threads: Vec<_> = (0..threads.min(options.connections))
        .map(|first| {
            let (options, turn) = (Arc::clone(options), Arc::clone(&turn));
            std::thread::spawn(move || -> Outcome<Tally> {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let conversations: Vec<_> = (first..options.connections)
                        .step_by(threads)
                        .map(|number| {
                            tokio::spawn(converse(Arc::clone(&options), Arc::clone(&turn), number, begun))
                        })
                        .collect();
                    let mut all = Tally::default();
                    for conversation in conversations {
                        all.add(conversation.await??);
                    }
                    Ok(all)
                })
            })
        })
        .collect();
    for thread in threads {
        all.add(thread.join().map_err(|_| "a thread ended early")??);
    }
    Ok(all)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "connections and requests are few beside 2^52"
)]
async fn converse(
    options: Arc<Options>,
    turn: Arc<AtomicUsize>,
    number: usize,
    begun: Instant,
) -> Outcome<Tally> {
    let mut stream = TcpStream::connect(&options.host).await?;
    stream.set_nodelay(true)?;
    let mut tally = Tally::default();
    let mut token = options
        .refresh
        .then(|| options.bodies[number % options.bodies.len()].clone());
    let (mut buffer, mut request, mut sent) = (Vec::with_capacity(8192), String::new(), 0_usize);
    loop {
        let due = match options.rate {
            Some(rate) => {
                let at = (number as f64 + (sent * options.connections) as f64) / rate;
                let due = begun + Duration::from_secs_f64(at);
                if options.punctual {
                    // Nothing else is on this thread.
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                } else {
                    tokio::time::sleep_until(due.into()).await;
                }
                due
            }
            None => Instant::now(),
        };
        if due.duration_since(begun).as_secs_f64() >= options.seconds {
            return Ok(tally);
        }
        sent += 1;
        let body = match &token {
            Some(token) => format!("{{\"refresh_token\":\"{token}\"}}"),
            None if options.bodies.is_empty() => String::new(),
            None => options.bodies[turn_of(&options.bodies, &turn)].clone(),
        };
        let bearer = options.tokens.get(turn_of(&options.tokens, &turn));
        if request.is_empty() || !body.is_empty() || bearer.is_some() {
            request = format!(
                "{} {} HTTP/1.1\r\nhost: {}\r\n{}",
                options.method, options.path, options.host, options.headers
            );
            if let Some(bearer) = bearer {
                request += &format!("authorization: Bearer {bearer}\r\n");
            }
            if !body.is_empty() {
                request += &format!(
                    "content-type: application/json\r\ncontent-length: {}\r\n",
                    body.len()
                );
            }
            request += "\r\n";
            request += &body;
        }
        let Ok(answer) = ask(&mut stream, request.as_bytes(), &mut buffer).await else {
            // Counted, and on with a new connection.
            tally.failed += 1;
            stream = TcpStream::connect(&options.host).await?;
            continue;
        };
        let latency = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        match answer.status {
            200..300 => tally.good.push(latency),
            503 => tally.refused.push(latency),
            _ => tally.failed += 1,
        }
        if let Some(token) = &mut token
            && let Some(next) = text_after(&buffer[answer.body..], "\"refresh_token\":\"")
        {
            *token = next;
        }
    }
}

/// The next of them.
fn turn_of(lines: &[String], turn: &AtomicUsize) -> usize {
    if lines.is_empty() {
        return 0;
    }
    turn.fetch_add(1, Ordering::Relaxed) % lines.len()
}

struct Answer {
    status: u16,
    /// Where the body begins in the buffer.
    body: usize,
}

async fn ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Outcome<Answer> {
    stream.write_all(request).await?;
    buffer.clear();
    let head = loop {
        more(stream, buffer).await?;
        if let Some(at) = memmem::find(buffer, b"\r\n\r\n") {
            break at;
        }
    };
    let status = std::str::from_utf8(buffer.get(9..12).ok_or("no status")?)?.parse()?;
    let body = head + 4;
    match field(&buffer[..head], "content-length") {
        Some(length) => {
            let end = body + std::str::from_utf8(length)?.parse::<usize>()?;
            while buffer.len() < end {
                more(stream, buffer).await?;
            }
        }
        // In chunks, then, the last of which is empty.
        None if status != 204 => {
            while !buffer.ends_with(b"0\r\n\r\n") {
                more(stream, buffer).await?;
            }
        }
        None => {}
    }
    Ok(Answer { status, body })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome {
    match stream.read_buf(buffer).await? {
        0 => Err("the connection ended".into()),
        _ => Ok(()),
    }
}

/// What a field of the head holds.
fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = memmem::find_iter(head, b"\r\n").map(|at| &head[at + 2..]);
    let line = lines.find(|line| {
        line.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            && line.get(name.len()) == Some(&b':')
    })?;
    let value = &line[name.len() + 1..];
    let end = memmem::find(value, b"\r\n").unwrap_or(value.len());
    Some(value[..end].trim_ascii())
}

fn text_after(body: &[u8], mark: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let rest = &text[text.find(mark)? + mark.len()..];
    rest.split('"').next().map(str::to_owned)
}

#[expect(clippy::cast_precision_loss, reason = "requests are few beside 2^52")]
fn report(mut tally: Tally, took: f64) -> serde_json::Value {
    tally.good.sort_unstable();
    tally.refused.sort_unstable();
    let of = |latencies: &[u32], share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let at = (latencies.len() as f64 * share) as usize;
        latencies.get(at.min(latencies.len().saturating_sub(1))).copied()
    };
    json!({
        "requests": tally.good.len(),
        "rate": tally.good.len() as f64 / took,
        "refused": tally.refused.len(),
        "failed": tally.failed,
        "p50": of(&tally.good, 0.5),
        "p90": of(&tally.good, 0.9),
        "p99": of(&tally.good, 0.99),
        "p999": of(&tally.good, 0.999),
        "max": tally.good.last(),
        "refused_p50": of(&tally.refused, 0.5),
    })
}
