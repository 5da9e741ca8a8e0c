//! What endpoints carry, for people: a line of the access log, and the counters of one endpoint.

use super::{Paint, paint::Tone, time};
use freehold_model::{
    Bytes,
    traffic::{AccessEnd, AccessLine, EndpointTraffic},
};
use jiff::Timestamp;

/// `2026-01-31 12:00:00.123 10.0.0.7:5000 → 7k3q9x  in 120B out 4.0KiB  12ms  done`.
pub(crate) fn line(line: &AccessLine, paint: Paint) -> String {
    let time = line.time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let instance = line.instance.map_or("-".to_owned(), |id| {
        let id = id.to_string();
        id[id.len() - 6..].to_owned()
    });
    let (bytes_in, bytes_out) = (time::size(Bytes(line.bytes_in)), time::size(Bytes(line.bytes_out)));
    let (word, tone) = end(line.end);
    format!(
        "{} {} → {instance}  in {bytes_in} out {bytes_out}  {}ms  {}",
        paint.dim(&time),
        line.client,
        line.duration_ms,
        paint.tone(tone, word)
    )
}

fn end(end: AccessEnd) -> (&'static str, Tone) {
    match end {
        AccessEnd::Done => ("done", Tone::Good),
        AccessEnd::Idle => ("idle for too long", Tone::Dim),
        AccessEnd::ClientReset => ("reset by the client", Tone::Note),
        AccessEnd::InstanceReset => ("reset by the instance", Tone::Bad),
        AccessEnd::NoInstance => ("no instance answered", Tone::Bad),
        AccessEnd::Refused => ("refused: too many", Tone::Bad),
        AccessEnd::BadHeader => ("no PROXY header that can be read", Tone::Bad),
        AccessEnd::Cut => ("cut by Freehold", Tone::Note),
    }
}

/// The counters, each line after two spaces; what is nothing is left out.
pub(crate) fn counters(traffic: &EndpointTraffic, paint: Paint, now: Timestamp) -> Vec<String> {
    let since = format!("since {}", time::ago(traffic.since, now));
    let mut lines = vec![format!("{} {}", paint.bold("carried"), paint.dim(&since))];
    lines.push(format!("  connections: {} open, {} in all", traffic.active, traffic.connections));
    let (bytes_in, bytes_out) = (time::size(Bytes(traffic.bytes_in)), time::size(Bytes(traffic.bytes_out)));
    lines.push(format!("  bytes: {bytes_in} in, {bytes_out} out"));
    let trouble = [
        ("refused, being too many", traffic.refused),
        ("without an instance", traffic.failed),
        ("broken off", traffic.broken),
        ("ended for silence", traffic.idled),
        ("without a PROXY header that can be read", traffic.bad_headers),
        ("datagrams dropped", traffic.dropped),
        ("not in the access log", traffic.unlogged),
    ];
    let trouble = trouble.into_iter().filter(|(_, count)| *count > 0);
    lines.extend(trouble.map(|(what, count)| format!("  {what}: {count}")));
    for backend in &traffic.backends {
        let drains = if backend.serves { "" } else { ", drains" };
        let failed =
            if backend.failed > 0 { format!(", {} attempts failed", backend.failed) } else { String::new() };
        lines.push(format!(
            "  {}: {} open, {} in all{failed}{drains}",
            backend.instance, backend.active, backend.connections
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{EndpointId, InstanceId, traffic::BackendTraffic};

    #[test]
    fn a_line_tells_who_and_how_it_ended() {
        let told = AccessLine {
            time: "2026-01-31T12:00:00.1234Z".parse().unwrap(),
            endpoint: EndpointId(Default::default()),
            client: "[fd00::1]:4000".parse().unwrap(),
            instance: Some(InstanceId(Default::default())),
            bytes_in: 100,
            bytes_out: 2048,
            duration_ms: 12,
            end: AccessEnd::Done,
        };
        let (bytes_in, bytes_out) = (time::size(Bytes(100)), time::size(Bytes(2048)));
        let expected = format!(
            "2026-01-31 12:00:00.123 [fd00::1]:4000 → 000000  in {bytes_in} out {bytes_out}  12ms  done"
        );
        assert_eq!(line(&told, Paint::plain()), expected);
        let nobody = AccessLine { instance: None, end: AccessEnd::NoInstance, ..told };
        assert!(line(&nobody, Paint::plain()).contains("→ -  in"));
    }

    #[test]
    fn counters_say_what_went_wrong_and_nothing_else() {
        let backend = BackendTraffic {
            instance: InstanceId(Default::default()),
            serves: false,
            active: 1,
            connections: 4,
            failed: 2,
        };
        let traffic = EndpointTraffic {
            endpoint: EndpointId(Default::default()),
            since: Timestamp::UNIX_EPOCH,
            active: 1,
            connections: 5,
            refused: 3,
            failed: 0,
            broken: 0,
            idled: 0,
            bytes_in: 0,
            bytes_out: 0,
            bad_headers: 0,
            dropped: 0,
            unlogged: 0,
            backends: vec![backend],
        };
        let text = counters(&traffic, Paint::plain(), Timestamp::UNIX_EPOCH).join("\n");
        assert!(text.contains("1 open, 5 in all") && text.contains("refused, being too many: 3"), "{text}");
        assert!(text.contains("1 open, 4 in all, 2 attempts failed, drains"), "{text}");
        assert!(!text.contains("silence"), "{text}");
    }
}
