//! The steps of traces, and the ends of traces. What they are called and which attributes they have is said here and in `traces` alone:
//! neither address, name, token nor any other value of a request is among them.
//!
//! Where nothing is traced a step costs a read of the task's own memory.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::scope::Scope;
use super::traces::trace::{Step, Trace};
use crate::domain::UserId;

/// The computation that follows [`hash_wait`].
pub const HASH: &str = "hash password";

fn begin(step: impl FnOnce(&Trace) -> Step) -> Step {
    Scope::with(|scope| scope.trace.as_ref().map(step)).unwrap_or_default()
}

/// A statement on a database of this kind (`postgresql`, `sqlite`). `place` is where it stands in the code, as
/// [`std::any::type_name_of_val`] gives it, or a command without values.
pub fn statement(system: &'static str, place: &'static str) -> Step {
    begin(|trace| {
        let name = function_of(place);
        trace.step(SpanKind::Client, name, operation(system, name))
    })
}

/// The wait for a connection to a database of this kind.
pub fn connection(system: &'static str) -> Step {
    begin(|trace| {
        let attributes = vec![KeyValue::new("db.system.name", system)];
        trace.step(SpanKind::Internal, "acquire connection", attributes)
    })
}

/// A command for Redis.
pub fn redis(command: &'static str) -> Step {
    begin(|trace| trace.step(SpanKind::Client, command, operation("redis", command)))
}

/// The wait for a thread that hashes. The computation is the step after it.
pub fn hash_wait() -> Step {
    begin(|trace| trace.step(SpanKind::Internal, "wait for hasher", Vec::new()))
}

/// Handing a mail to a mail server.
pub fn mail() -> Step {
    begin(|trace| trace.step(SpanKind::Client, "send mail", Vec::new()))
}

/// Ends the trace of a request.
pub fn end_request(status: u16, user: Option<UserId>) {
    Scope::with(|scope| {
        let failed = status >= 500;
        let attributes = [
            Some(KeyValue::new("http.response.status_code", i64::from(status))),
            user.map(|user| KeyValue::new("user.id", user.0.to_string())),
            failed.then(|| KeyValue::new("error.type", status.to_string())),
        ];
        scope
            .trace
            .as_ref()?
            .end(attributes.into_iter().flatten(), failed);
        Some(())
    });
}

/// Ends the trace of a row of the outbox.
pub fn end_outbox_row(outcome: &'static str) {
    Scope::with(|scope| {
        let outcome = KeyValue::new("josoor_auth.outbox.outcome", outcome);
        scope.trace.as_ref()?.end([outcome], false);
        Some(())
    });
}

fn operation(system: &'static str, name: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("db.system.name", system),
        KeyValue::new("db.operation.name", name),
    ]
}

/// The last name of a path that is not a closure's, without type arguments.
fn function_of(path: &'static str) -> &'static str {
    let path = path.trim_end_matches("::{{closure}}");
    let (mut begin, mut end, mut depth) = (0, path.len(), 0_usize);
    for (at, character) in path.char_indices() {
        match character {
            '<' => {
                if depth == 0 {
                    end = at;
                }
                depth += 1;
            }
            '>' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => (begin, end) = (at + 1, path.len()),
            _ => {}
        }
    }
    path.get(begin..end).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::function_of;

    fn find_user() -> &'static str {
        let place = || std::any::type_name_of_val(&|| ());
        function_of(place())
    }

    async fn generic<T>(value: T) -> &'static str {
        drop(value);
        tokio::task::yield_now().await;
        function_of(std::any::type_name_of_val(&|| ()))
    }

    #[tokio::test]
    async fn a_statement_has_the_name_of_its_function() {
        assert_eq!(find_user(), "find_user");
        assert_eq!(generic(Some(crate::domain::UserId(7))).await, "generic");
        let of_method = "a::<impl a::b::Conn>::end::{{closure}}::{{closure}}";
        assert_eq!(function_of(of_method), "end");
        assert_eq!(function_of("commit"), "commit");
        assert_eq!(function_of(""), "");
    }
}
