//! `freehold releases`: the releases of one env, the newest first.

use crate::{
    failure::{Failure, Outcome},
    output::{
        Paint, Tone,
        plan::shorten,
        table::{Table, cell},
        time,
    },
    session::Session,
};
use freehold_client::ResourceQuery;
use freehold_model::{AnyResource, Code, EnvSpec, Kind, Problem, Release, ReleaseId, kinds::Verdict};
use jiff::Timestamp;

pub(crate) async fn run(session: &Session) -> Outcome {
    let env_id = session.env_id().await?;
    let env = typed::<EnvSpec>(session.client.resource(env_id).await?)?;
    let mut releases = session.client.all_resources(&ResourceQuery::of(Kind::Release).under(env_id)).await?;
    releases.reverse();
    if session.out.json {
        return session.out.show(&releases, |_| String::new());
    }
    let releases = releases.into_iter().map(typed).collect::<Outcome<Vec<Release>>>()?;
    session.out.text(&render(&releases, env.spec.release, session.out.paint, Timestamp::now()))
}

fn render(releases: &[Release], current: Option<ReleaseId>, paint: Paint, now: Timestamp) -> String {
    let mut table = Table::new(&["RELEASE", "STATE", "VERDICT", "CREATED", "IMAGES"]);
    for release in releases {
        let images = release.spec.templates.iter();
        let images = images.map(|(process, template)| {
            format!("{process}={} {}", template.image.reference, shorten(template.image.digest.as_str()))
        });
        let state = if current == Some(release.id) { cell("runs", Tone::Good) } else { "".into() };
        let verdict = match release.status.verdict {
            Some(Verdict::Succeeded) => cell("succeeded", Tone::Plain),
            Some(Verdict::Failed) => cell("failed", Tone::Bad),
            Some(other) => cell(other.word(), Tone::Dim),
            None => "-".into(),
        };
        table.row([
            release.name.clone().into(),
            state,
            verdict,
            time::ago(release.created, now).into(),
            images.collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    table.render(paint, 0, "no releases")
}

fn typed<S: freehold_model::Spec>(any: AnyResource) -> Outcome<freehold_model::Resource<S>> {
    any.typed().map_err(|error| Failure::Problem(Problem::new(Code::Internal, error.to_string())))
}
