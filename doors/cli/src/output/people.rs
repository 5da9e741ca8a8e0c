//! People and machines for people: tokens, roles, and why somebody may or may not.

use super::{
    Paint,
    paint::Tone,
    table::{Table, cell},
    time,
};
use freehold_model::{
    access::{Explanation, NamedBinding, TokenSummary, Whoami},
    people::{PasskeySummary, SessionSummary, UserSummary},
};
use jiff::Timestamp;

/// Every token.
pub(crate) fn tokens(tokens: &[TokenSummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["TOKEN", "MAY", "MADE", "BY", "ENDS"]);
    for token in tokens {
        let ends = match (token.expired, &token.ended) {
            (true, _) => cell(format!("expired {}", time::ago(token.expires, now)), Tone::Bad),
            (_, Some(why)) => cell(format!("worth nothing: {why}"), Tone::Bad),
            _ => time::ago(token.expires, now).into(),
        };
        table.row([
            token.name.clone().into(),
            bindings(&token.bindings).into(),
            time::ago(token.created, now).into(),
            token.creator.to_string().into(),
            ends,
        ]);
    }
    table.render(paint, 0, "no tokens; `freehold token create NAME --role ROLE` makes one")
}

/// Every user.
pub(crate) fn users(users: &[UserSummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["USER", "NAME", "MAY", "STATE", "SINCE"]);
    for user in users {
        let tone = match user.state.as_str() {
            "active" => Tone::Good,
            "invited" => Tone::Note,
            _ => Tone::Bad,
        };
        table.row([
            user.name.clone().into(),
            user.full_name.clone().unwrap_or_default().into(),
            bindings(&user.bindings).into(),
            cell(user.state.clone(), tone),
            time::ago(user.created, now).into(),
        ]);
    }
    table.render(paint, 0, "no users; `freehold user create NAME --role ROLE` invites one")
}

/// One user.
pub(crate) fn user(user: &UserSummary, now: Timestamp) -> String {
    let locked = user.locked_until.map(|until| format!(", until {until}")).unwrap_or_default();
    let name = user.full_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!(
        "{}{name}\n  id     {}\n  may    {}\n  state  {}{locked}\n  made   {}\n  second factor  {}\n  passkeys       {}",
        user.name,
        user.id,
        bindings(&user.bindings),
        user.state,
        time::ago(user.created, now),
        if user.second_factor { "yes" } else { "no" },
        user.passkeys
    )
}

/// Somebody's passkeys.
pub(crate) fn passkeys(passkeys: &[PasskeySummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["PASSKEY", "ID", "ADDED", "USED"]);
    for passkey in passkeys {
        let used = passkey.last_used.map_or_else(|| "never".into(), |at| time::ago(at, now));
        table.row([
            passkey.name.clone().into(),
            passkey.id.clone().into(),
            time::ago(passkey.created, now).into(),
            used.into(),
        ]);
    }
    table.render(paint, 0, "no passkeys; they add theirs in a browser, on the page /account")
}

/// Sessions.
pub(crate) fn sessions(sessions: &[SessionSummary], paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["SESSION", "USER", "BEGAN", "FROM", "WITH", "ENDS"]);
    for one in sessions {
        let mark = if one.current { " (this one)" } else { "" };
        table.row([
            format!("{}{mark}", one.id).into(),
            one.user.clone().into(),
            time::ago(one.created, now).into(),
            one.address.clone().unwrap_or_default().into(),
            one.program.clone().unwrap_or_default().into(),
            time::ago(one.expires, now).into(),
        ]);
    }
    table.render(paint, 0, "no sessions")
}

/// `developer of project shop, viewer of org home`.
pub(crate) fn bindings(bindings: &[NamedBinding]) -> String {
    let words: Vec<String> = bindings.iter().map(binding).collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn binding(binding: &NamedBinding) -> String {
    match (&binding.project, &binding.org) {
        (Some(project), _) => format!("{} of project {project}", binding.role),
        (None, Some(org)) => format!("{} of org {org}", binding.role),
        (None, None) => format!("{} of what is gone", binding.role),
    }
}

/// Who may, who may not, and why.
pub(crate) fn explanation(explanation: &Explanation, paint: Paint) -> String {
    let takes = explanation.needs.map(|role| format!(" takes {role}")).unwrap_or_default();
    let head = format!("{} in {} ({}){takes}", explanation.action, explanation.place, explanation.meaning);
    let mut table = Table::new(&["WHO", "MAY", "WHY"]);
    for one in &explanation.people {
        let may = if one.granted { cell("yes", Tone::Good) } else { cell("no", Tone::Bad) };
        let by = one.by.as_ref().map(|by| format!(" (by {})", binding(by))).unwrap_or_default();
        table.row([one.actor.to_string().into(), may, format!("{}{by}", one.reason).into()]);
    }
    format!("{}\n{}", paint.bold(&head), table.render(paint, 2, "nobody has a role there"))
}

/// Who one is.
pub(crate) fn whoami(who: &Whoami) -> String {
    match who.root {
        true => format!("{}: owner of the data directory, who may do everything", who.actor),
        false if who.withheld.is_empty() => format!("{}: {}", who.actor, bindings(&who.bindings)),
        false => format!(
            "{}: {}\nkept out of {} until there is a second factor or a passkey: add one on the page /account",
            who.actor,
            bindings(&who.bindings),
            who.withheld.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_model::{Actor, Role, access::Standing};

    #[test]
    fn an_explanation_says_who_may_by_which_binding() {
        let by = NamedBinding { role: Role::Viewer, org: None, project: Some("shop".parse().unwrap()) };
        let standing = Standing {
            actor: Actor::Token("ci".into()),
            granted: false,
            role: Some(Role::Viewer),
            by: Some(by),
            reason: "viewer of project shop, and it takes developer".into(),
        };
        let explanation = Explanation {
            action: "deploy".into(),
            meaning: "to deploy".into(),
            place: "project shop".into(),
            needs: Some(Role::Developer),
            people: vec![standing],
        };
        let text = super::explanation(&explanation, Paint::plain());
        for part in ["takes developer", "token:ci", "no", "(by viewer of project shop)"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
