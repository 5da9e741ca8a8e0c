//! What every command starts from: the server, the names that were given, and how to write.

use crate::{
    args::Globals,
    context::{self, Contexts, Logins, same_server},
    failure::{Failure, Outcome},
    manifest,
    output::{Out, Progress},
};
use freehold_client::{Client, SummaryQuery};
use freehold_model::Name;

/// The env that is meant where none is named.
const DEFAULT_ENV: &str = "prod";
/// The project that is meant where none is named.
const DEFAULT_PROJECT: &str = "default";

/// One command's view of the world. Has no `Debug`: it holds a token.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// For those who speak the registry's protocol.
    pub(crate) token: Option<String>,
    pub(crate) globals: Globals,
    pub(crate) out: Out,
    pub(crate) progress: Progress,
}

impl Session {
    /// Finds the server: flags, then the environment, then what `login` kept and the context that `up` wrote.
    pub(crate) fn open(globals: Globals) -> Outcome<Session> {
        let (url, token) = server(&globals)?;
        let client = Client::new(&url, token.as_deref())?;
        let out = Out::new(globals.json);
        Ok(Session { client, token, globals, out, progress: Progress::new() })
    }

    /// The app that was named, or that of the manifest here.
    pub(crate) fn app(&self) -> Outcome<Name> {
        self.app_if_any()?.ok_or_else(|| {
            Failure::usage("which app?", "Name it with --app, or go to the folder of its freehold.toml.")
        })
    }

    /// The same, where all apps may be meant.
    pub(crate) fn app_if_any(&self) -> Outcome<Option<Name>> {
        match &self.globals.app {
            Some(app) => Ok(Some(app.clone())),
            None => manifest::app(self.globals.file.as_deref()),
        }
    }

    /// The envs that are meant, where several may be: of the app that is meant, or all.
    pub(crate) fn summary_query(&self) -> Outcome<SummaryQuery> {
        let text = |name: &Name| name.to_string();
        Ok(SummaryQuery {
            project: self.globals.project.as_ref().map(text),
            app: self.app_if_any()?.as_ref().map(text),
            env: self.globals.env.as_ref().map(text),
        })
    }

    /// The env that was named, or `prod`.
    pub(crate) fn env(&self) -> String {
        self.globals.env.as_ref().map_or(DEFAULT_ENV.into(), Name::to_string)
    }

    /// The project that was named, or `default`.
    pub(crate) fn project(&self) -> String {
        self.globals.project.as_ref().map_or(DEFAULT_PROJECT.into(), Name::to_string)
    }
}

/// The address and the token. A token of the context goes to the context's own server alone.
fn server(globals: &Globals) -> Outcome<(String, Option<String>)> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (url, token) = (given(&globals.url), given(&globals.token));
    if let (Some(url), Some(_)) = (&url, &token) {
        return Ok((url.clone(), token));
    }
    let home = context::home()?;
    let (contexts, logins) = (Contexts::load(&home)?, Logins::load(&home)?);
    match (url, contexts.current().map(|(_, context)| context.clone())) {
        (Some(url), _) => {
            let own = contexts.iter().map(|(_, context)| context).find(|it| same_server(&url, &it.url));
            let kept = logins.get(&url).or_else(|| own.and_then(|own| own.token().unwrap_or_default()));
            Ok((url, kept))
        }
        (None, Some(saved)) => {
            let token = match token.or_else(|| logins.get(&saved.url)) {
                Some(token) => Some(token),
                None => saved.token()?,
            };
            Ok((saved.url, token))
        }
        (None, None) => Err(Failure::usage(
            "no server is known",
            "Start one here with `freehold up`, or name one with --url and --token, or `freehold login --url`.",
        )),
    }
}
