//! `freehold drill`: proves from inside that what should be closed is closed.

use crate::{
    failure::{Failure, Outcome},
    output::{
        Paint, Tone,
        table::{Table, cell},
    },
    session::Session,
};
use freehold_model::drill::{EgressDrill, EgressTry, Way};

/// What can be drilled.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Tries from inside every instance where it can connect to, and compares that with its egress.
    #[command(after_help = "\
Tried are what the egress opens, and what must be closed: an address outside, a name, the node's own
ports, an instance of another env. Nothing in the image is needed for it. Exits with 8 when something
is open that should be closed, or closed that should be open.

Examples:
  freehold drill egress                the app of this folder, or every app
  freehold drill egress -a shop -e prod --json")]
    Egress,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    let Command::Egress = command;
    let drill = session.client.drill_egress(&session.summary_query()?).await?;
    session.out.show(&drill, |drill| render(drill, session.out.paint))?;
    if drill.ok {
        return Ok(());
    }
    // 8: unhealthy (design, §9).
    Err(Failure::Said(8))
}

fn render(drill: &EgressDrill, paint: Paint) -> String {
    let mut table = Table::new(&["INSTANCE", "PROCESS", "TARGET", "WHAT", "EXPECTED", "FOUND", "HOW"]);
    for one in &drill.tries {
        let tone = match (one.ok, one.found) {
            (false, _) => Tone::Bad,
            (true, Way::Unknown) => Tone::Note,
            (true, _) => Tone::Good,
        };
        let row = [
            one.instance.to_string().into(),
            one.process.to_string().into(),
            one.target.clone().into(),
            one.what.clone().into(),
            way(one.expected).into(),
            cell(way(one.found), tone),
            one.detail.clone().into(),
        ];
        table.row(row);
    }
    let wrong = drill.tries.iter().filter(|one| !one.ok).count();
    let unknown = |one: &&EgressTry| one.found == Way::Unknown;
    let unproved = match drill.tries.iter().filter(unknown).count() {
        0 => String::new(),
        some => format!(", {some} could not be proved"),
    };
    let verdict = match (drill.tries.len(), wrong) {
        (0, _) => paint.dim("No container runs: there is nothing to drill."),
        (all, 0) => format!("{} {all} tries{unproved}.", paint.good("As it should be:")),
        (all, wrong) => format!("{} {wrong} of {all} tries{unproved}.", paint.bad("Not as it should be:")),
    };
    match drill.tries.is_empty() {
        true => verdict,
        false => format!("{}\n\n{verdict}", table.render(paint, 0, "")),
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Open => "open",
        Way::Closed => "closed",
        Way::Unknown => "unproved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted() {
        let one = |found, ok| EgressTry {
            instance: "ins_01jd0000000000000000000000".parse().unwrap(),
            process: "web".parse().unwrap(),
            target: "1.1.1.1:443".into(),
            what: "an address outside".into(),
            expected: Way::Closed,
            found,
            ok,
            detail: "connected".into(),
        };
        let drill = EgressDrill { ok: false, tries: vec![one(Way::Open, false), one(Way::Unknown, true)] };
        let text = render(&drill, Paint::plain());
        assert!(text.ends_with("Not as it should be: 1 of 2 tries, 1 could not be proved."), "{text}");
        assert!(
            render(&EgressDrill { ok: true, tries: vec![] }, Paint::plain()).contains("nothing to drill")
        );
    }
}
