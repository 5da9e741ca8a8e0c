//! `freehold context`: the servers that commands were pointed at, and which of them they ask.

use crate::{
    args::Globals,
    context::{Contexts, home},
    failure::Outcome,
    output::{Out, table::Table},
};
use serde_json::json;

/// What can be done with contexts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them: names, addresses, and which one commands ask.
    #[command(alias = "ls")]
    List,
    /// Has commands ask that server from now on.
    Use(Name),
    /// Forgets one. What lets you in there goes with `freehold logout`.
    #[command(aliases = ["remove", "delete"])]
    Rm(Name),
}

/// Which.
#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Its name, as `list` shows it.
    name: String,
}

pub(crate) fn run(command: Command, globals: &Globals) -> Outcome {
    let (home, out) = (home()?, Out::new(globals.json));
    let mut contexts = Contexts::load(&home)?;
    match command {
        Command::List => {
            let current = contexts.current().map(|(name, _)| name);
            let is_current = |name: &str| current == Some(name);
            let all: Vec<_> = contexts
                .iter()
                .map(|(name, it)| json!({ "name": name, "url": it.url, "current": is_current(name) }))
                .collect();
            out.show(&json!({ "items": all }), |_| {
                let mut table = Table::new(&["NAME", "ADDRESS", "CURRENT"]);
                for (name, context) in contexts.iter() {
                    let mark = if is_current(name) { "yes" } else { "" };
                    table.row([name.into(), context.url.as_str().into(), mark.into()]);
                }
                table.render(
                    out.paint,
                    0,
                    "There is no context yet: `freehold up` or `freehold login --url` makes one.",
                )
            })
        }
        Command::Use(Name { name }) => {
            contexts.choose(&name)?;
            contexts.save(&home)?;
            let url = contexts.current().map(|(_, it)| it.url.clone()).unwrap_or_default();
            out.show(&json!({ "name": name, "url": url }), |_| format!("Commands ask {url} from now on."))
        }
        Command::Rm(Name { name }) => {
            contexts.remove(&name)?;
            contexts.save(&home)?;
            out.show(&json!({ "name": name }), |_| format!("Context {name} is forgotten."))
        }
    }
}
