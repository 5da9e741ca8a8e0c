//! `freehold init`: writes a manifest for a folder, and says how to get from there to a running app.
//!
//! Needs no server. Invariant: either every file is written or none, and without `--force` no file that
//! was there is touched. A program is written only where the folder has none, and never over anything.

mod ask;
mod detect;
mod render;
mod stack;
mod steps;
mod write;

use crate::{
    args::Globals,
    failure::{Failure, Outcome},
    output::Out,
};
use ask::{Asker, Question};
use clap::builder::PossibleValuesParser;
use freehold_model::Name;
use render::Choices;
use serde::Serialize;
use stack::{STACKS, Stack};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use steps::Step;
use write::Written;

/// Flags of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --template it looks: Cargo.toml, go.mod, package.json, pyproject.toml or requirements.txt, index.html.
The app is called what --app says, or like the folder. Templates:

  static    a static site: files handed out by a web server
  rust      a Rust service: one static program
  node      a Node service
  python    a Python service
  go        a Go service: one static program
  postgres  PostgreSQL, with its data on a volume
  redis     Redis, with its data on a volume
  worker    a web server and workers, with a queue between them

Examples:
  freehold init
  freehold init shop --template node --port 8080 --yes")]
pub(crate) struct Args {
    /// The folder; made if it is not there.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What to write.
    #[arg(short, long, value_name = "NAME", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(STACKS.iter().map(|stack| stack.name)))]
    template: Option<String>,
    /// The port on this machine where the app is reached.
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The image to start from, instead of the template's own. NAME (node, python, redis, ...) says which one,
    /// where the template has several.
    #[arg(long, value_name = "[NAME=]IMAGE")]
    image: Vec<String>,
    /// Asks nothing.
    #[arg(short, long)]
    yes: bool,
    /// Replaces freehold.toml and freehold-image.toml, if they are there.
    #[arg(long)]
    force: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    app: Name,
    template: &'static str,
    dir: PathBuf,
    files: Vec<Written>,
    next: Vec<Step>,
}

/// Writes the files.
pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    if globals.file.is_some() {
        let hint = "Name the folder instead: `freehold init DIR`.";
        return Err(Failure::usage("init writes freehold.toml and takes no --file", hint));
    }
    let asker = Asker::new(args.yes);
    let stack = choose(args.template.as_deref(), &args.dir, asker)?;
    let images = images(&args.image, stack)?;
    let app = match &globals.app {
        Some(app) => app.clone(),
        None => app(&args.dir, asker)?,
    };
    let port = port(args.port, stack, asker)?;
    let choices = Choices { app, port, images, fit: detect::fit(stack.name, &args.dir) };
    let files = write::all(stack, &args.dir, &choices, args.force)?;
    let next = steps::steps(stack, &args.dir, &choices.app);
    let done = Done { app: choices.app, template: stack.name, dir: args.dir, files, next };
    Out::new(globals.json).show(&done, text)
}

/// The template: as named, as detected, as answered.
fn choose(named: Option<&str>, dir: &Path, asker: Asker) -> Outcome<&'static Stack> {
    if let Some(stack) = named.and_then(stack::named) {
        return Ok(stack);
    }
    let candidates = detect::candidates(dir);
    if let [one] = candidates[..] {
        return stack::named(one).ok_or_else(|| Failure::local("choose a template", one));
    }
    let fitting: Vec<&Stack> = match candidates[..] {
        [] => STACKS.iter().collect(),
        _ => candidates.iter().filter_map(|name| stack::named(name)).collect(),
    };
    let names = fitting.iter().map(|stack| stack.name).collect::<Vec<_>>().join("|");
    let what = match candidates[..] {
        [] => "the template".to_owned(),
        _ => format!("the template (this folder could be {})", candidates.join(" or ")),
    };
    if asker.asks() {
        for stack in &fitting {
            eprintln!("  {:<9} {}", stack.name, stack.about);
        }
    }
    let question = Question { what: &what, default: None, flag: &format!("--template {names}") };
    asker.ask(&question, |answer| {
        stack::named(answer).ok_or_else(|| format!("there is no template `{answer}`: {names}"))
    })
}

fn app(dir: &Path, asker: Asker) -> Outcome<Name> {
    let read = |text: &str| text.parse::<Name>().map_err(|error| error.to_string());
    let question = Question { what: "the app's name", default: name_of(dir), flag: "--app NAME" };
    asker.ask(&question, read)
}

/// The folder's name, as far as it can be an app's.
fn name_of(dir: &Path) -> Option<String> {
    let full = std::path::absolute(dir).ok()?;
    let full = full.canonicalize().unwrap_or(full);
    let name = full.file_name()?.to_string_lossy().to_lowercase();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let plain = plain.trim_matches('-').to_owned();
    (!plain.is_empty()).then_some(plain)
}

fn port(given: Option<u16>, stack: &Stack, asker: Asker) -> Outcome<Option<u16>> {
    if given.is_some() || !asker.asks() {
        return Ok(given);
    }
    let question = Question {
        what: "the port on this machine where it is reached",
        default: stack.port().map(|port| port.to_string()),
        flag: "--port N",
    };
    let read =
        |text: &str| text.parse::<std::num::NonZeroU16>().map_err(|_| "a port is 1 to 65535".to_owned());
    asker.ask(&question, read).map(|port| Some(port.get()))
}

/// `[NAME=]IMAGE` by the template's short names.
fn images(given: &[String], stack: &Stack) -> Outcome<BTreeMap<String, String>> {
    let names = || stack.images.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut images = BTreeMap::new();
    for text in given {
        let (name, image) = match (text.split_once('='), stack.images) {
            (Some((name, image)), all) if all.iter().any(|(known, _)| *known == name) => (name, image),
            (None, [(only, _)]) => (*only, text.as_str()),
            (_, []) => {
                let title = format!("the template `{}` starts from no image", stack.name);
                return Err(Failure::usage(title, "Leave --image out."));
            }
            _ => {
                let title = format!("--image {text} says not which image it replaces");
                return Err(Failure::usage(title, format!("Write NAME=IMAGE, with one of: {}.", names())));
            }
        };
        image.parse::<freehold_image::Reference>()?;
        images.insert(name.to_owned(), image.to_owned());
    }
    Ok(images)
}

fn text(done: &Done) -> String {
    let mut text = format!("{}: {}\n", done.app, done.template);
    for file in &done.files {
        text.push_str(&format!("  {:<8} {}\n", file.what.word(), done.dir.join(&file.path).display()));
    }
    text.push_str("\nNext");
    if done.dir != Path::new(".") {
        text.push_str(&format!(", in {}", done.dir.display()));
    }
    text.push_str(":\n");
    for step in &done.next {
        text.push_str(&format!("  # {}\n  {}\n", step.why, step.run));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lends_its_name_as_far_as_it_can() {
        let of = |path: &str| name_of(Path::new(path));
        assert_eq!(of("/srv/My Shop_2").as_deref(), Some("my-shop-2"));
        assert_eq!(of("/srv/..hidden").as_deref(), Some("hidden"));
        assert_eq!(of("/"), None);
        assert_eq!(of("/srv/___"), None);
    }

    #[test]
    fn an_image_says_which_it_replaces() {
        let worker = stack::named("worker").unwrap();
        let given = |texts: &[&str], stack| {
            images(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), stack)
        };
        let both = given(&["redis=our/redis:1", "python=our/python:1"], worker).unwrap();
        assert_eq!(both["redis"], "our/redis:1");
        assert!(given(&["our/redis:1"], worker).is_err());
        assert!(given(&["mysql=x:1"], worker).is_err());
        assert!(given(&["redis=No Image"], worker).is_err());
        assert_eq!(given(&["our/node:1"], stack::named("node").unwrap()).unwrap()["node"], "our/node:1");
        assert!(given(&["our/go:1"], stack::named("go").unwrap()).is_err());
    }

    #[test]
    fn the_help_names_every_template() {
        use clap::Args as _;
        let help = Args::augment_args(clap::Command::new("init")).render_long_help().to_string();
        for stack in STACKS {
            assert!(help.contains(&format!("  {:<9} {}", stack.name, stack.about)), "{}", stack.name);
        }
    }
}
