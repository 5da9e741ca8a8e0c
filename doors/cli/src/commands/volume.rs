//! `freehold volume …`: lists, explains, makes, copies and deletes volumes, and takes and restores snapshots.
//!
//! What takes long is done by the volume's node; these commands wait for it and can be left: it goes on.

use super::{describe, noun::NameArgs};
use crate::{
    failure::{Failure, Outcome},
    output::{self, time},
    session::Session,
};
use freehold_client::{ClientError, ResourceQuery};
use freehold_model::{
    Bytes, Code, InstanceSpec, Kind, Millis, Name, NodeSpec, Problem, Source, TaskState, Volume,
    VolumeAction, VolumeId, VolumeSpec, api::CreateVolume,
};
use jiff::Timestamp;
use std::time::Instant;

/// What volumes can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists them: those of the app that is meant, or all, attached or not.
    List,
    /// Explains one: what is wanted, what is so, why they differ, what happened.
    Describe(NameArgs),
    /// Makes an empty volume before an app needs it. A deploy makes what is missing by itself.
    Create(CreateArgs),
    /// Deletes a volume with all it holds, its snapshots included. Nothing else ever does.
    #[command(aliases = ["remove", "rm"])]
    Delete(DeleteArgs),
    /// Keeps what a volume holds now, under a name. Its instance stands still for the moment of the copy.
    Snapshot(SnapshotArgs),
    /// Lists the snapshots of a volume.
    Snapshots(NameArgs),
    /// Makes a volume hold what a snapshot does. Its instance is stopped meanwhile and started again.
    Restore(RestoreArgs),
    /// Calls off the snapshot, restore or removal that is under way. The volume is as before, unless it is too late.
    Cancel(CancelArgs),
    /// Makes a volume anew, empty, whose data is gone from its node. Until then its instance does not start.
    Recreate(RecreateArgs),
    /// Makes a new volume that holds what another one, or a snapshot of it, does.
    Clone(CloneArgs),
}

/// Flags of `volume create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold volume create shop/prod/data --size 50GiB --node nas")]
pub(crate) struct CreateArgs {
    /// Its name, `app/env/volume`, or the last part of it beside --app and --env.
    name: String,
    /// How much it may hold [default: 10GiB].
    #[arg(long)]
    size: Option<Bytes>,
    /// The node that it is on [default: the first that takes instances].
    #[arg(long)]
    node: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Its name, `app/env/volume`, or its id.
    name: String,
    /// Says that it is meant: what it holds is lost.
    #[arg(short = 'y', long)]
    yes: bool,
    /// Removes one snapshot and leaves the volume.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<Name>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume snapshot`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// Its name, `app/env/volume`, or its id.
    name: String,
    /// What to call the snapshot [default: the time, like 2026-11-20-183000].
    snapshot: Option<Name>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Its name, `app/env/volume`, or its id.
    name: String,
    /// The snapshot.
    snapshot: Name,
    /// Says that it is meant: what was written after the snapshot is lost.
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume clone`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  freehold volume clone shop/prod/data shop/test/data --snapshot before-upgrade")]
pub(crate) struct CloneArgs {
    /// The volume to copy, `app/env/volume`, or its id.
    from: String,
    /// The new volume, `app/env/volume`: the next deploy of that app to that env has it.
    to: String,
    /// Copies this snapshot [default: what the volume holds now].
    #[arg(long, value_name = "NAME")]
    snapshot: Option<Name>,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume cancel`.
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// Its name, `app/env/volume`, or its id.
    name: String,
    #[command(flatten)]
    wait: WaitArgs,
}

/// Flags of `volume recreate`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecreateArgs {
    /// Its name, `app/env/volume`, or its id.
    name: String,
    /// Says that it is meant: what instances find in it is nothing.
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

/// How long to wait for the node.
#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// Begins it and does not wait.
    #[arg(long)]
    detach: bool,
    /// Waits no longer than this; it goes on.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time::parse_length)]
    wait_timeout: Millis,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::List => list(session).await,
        Command::Describe(args) => describe::show(find(session, &args.name).await?.id.into(), session).await,
        Command::Create(args) => create(args, session).await,
        Command::Delete(args) => delete(args, session).await,
        Command::Snapshot(args) => {
            let volume = find(session, &args.name).await?;
            let name = args.snapshot.map_or_else(now_as_name, Ok)?;
            act(session, &volume, VolumeAction::Snapshot(name), &args.wait).await
        }
        Command::Snapshots(args) => {
            let volume = find(session, &args.name).await?;
            let paint = session.out.paint;
            session
                .out
                .show(&volume.status.snapshots, |all| output::volume::snapshots(all, paint, Timestamp::now()))
        }
        Command::Restore(args) => restore(args, session).await,
        Command::Cancel(args) => cancel(args, session).await,
        Command::Recreate(args) => recreate(args, session).await,
        Command::Clone(args) => clone(args, session).await,
    }
}

async fn list(session: &Session) -> Outcome {
    let mut volumes = vec![];
    let (app, env) = (session.app_if_any()?, session.globals.env.clone());
    for any in session.client.all_resources(&ResourceQuery::of(Kind::Volume)).await? {
        let volume: Volume = any.typed().map_err(|error| Failure::local("read a volume", error))?;
        let fits = app.as_ref().is_none_or(|app| volume.spec.app == *app);
        if fits && env.as_ref().is_none_or(|env| volume.spec.env == *env) {
            volumes.push(volume);
        }
    }
    let (mut writers, mut nodes) = (vec![], vec![]);
    for any in session.client.all_resources(&ResourceQuery::of(Kind::Instance)).await? {
        if let Ok(instance) = any.typed::<InstanceSpec>() {
            writers.extend(instance.spec.volumes.values().map(|id| (*id, instance.id)));
        }
    }
    for any in session.client.all_resources(&ResourceQuery::of(Kind::Node)).await? {
        nodes.extend(any.typed::<NodeSpec>().map(|node| (node.id, node.name)));
    }
    let paint = session.out.paint;
    let all: Vec<_> = volumes.iter().map(Volume::to_any).collect();
    session.out.show(&all, |_| output::volume::table(&volumes, &writers, &nodes, paint))
}

async fn create(args: CreateArgs, session: &Session) -> Outcome {
    let (app, env, volume) = parts(session, &args.name)?;
    let project = session.globals.project.clone();
    let wanted = CreateVolume { app, env, volume, project, size: args.size, node: args.node, from: None };
    let made = session.client.create_volume(&wanted).await?;
    ready(session, made, &args.wait).await
}

async fn clone(args: CloneArgs, session: &Session) -> Outcome {
    let from = find(session, &args.from).await?;
    let (app, env, volume) = parts(session, &args.to)?;
    let (project, source) =
        (session.globals.project.clone(), Source { volume: from.id, snapshot: args.snapshot });
    let wanted = CreateVolume { app, env, volume, project, size: None, node: None, from: Some(source) };
    let made = session.client.create_volume(&wanted).await?;
    ready(session, made, &args.wait).await
}

async fn recreate(args: RecreateArgs, session: &Session) -> Outcome {
    let volume = find(session, &args.name).await?;
    meant(args.yes, format!("{} would be empty", volume.name))?;
    let asked = session.client.recreate_volume(volume.id).await?;
    ready(session, asked, &args.wait).await
}

async fn restore(args: RestoreArgs, session: &Session) -> Outcome {
    let volume = find(session, &args.name).await?;
    meant(args.yes, format!("what {} holds now would be replaced", volume.name))?;
    act(session, &volume, VolumeAction::Restore(args.snapshot), &args.wait).await
}

async fn delete(args: DeleteArgs, session: &Session) -> Outcome {
    let volume = find(session, &args.name).await?;
    if let Some(snapshot) = args.snapshot {
        meant(args.yes, format!("snapshot {snapshot} of {} would be lost", volume.name))?;
        return act(session, &volume, VolumeAction::Drop(snapshot), &args.wait).await;
    }
    meant(args.yes, format!("everything that {} holds would be lost", volume.name))?;
    let deleted = session.client.delete_volume(volume.id).await?;
    let name = &deleted.name;
    let begun = || format!("{name} is being deleted.");
    if args.wait.detach {
        return session.out.show(&deleted.to_any(), |_| begun());
    }
    let gone = wait(session, deleted.id, &args.wait, &begun(), |seen| seen.is_none()).await?;
    debug_assert!(gone.is_none());
    session.out.show(&deleted.to_any(), |_| format!("{name} is gone."))
}

/// Nothing is lost without a yes.
fn meant(yes: bool, what: String) -> Outcome {
    match yes {
        true => Ok(()),
        false => Err(Failure::usage(what, "Repeat it with --yes if you are sure.")),
    }
}

/// Has the node do it, and waits for how it ends.
async fn act(session: &Session, volume: &Volume, action: VolumeAction, args: &WaitArgs) -> Outcome {
    let what = format!("{}: {action}", volume.name);
    let asked = session.client.change_volume(volume.id, &action).await?;
    if args.detach {
        return session.out.show(&asked.to_any(), |_| format!("{what} has begun."));
    }
    let volume = ended(session, &asked, args, &what).await?;
    match volume.status.task.clone() {
        Some(status) if status.state == TaskState::Failed => Err(Failure::Problem(
            Problem::new(Code::Internal, format!("{what} failed")).detail(status.message),
        )),
        status => {
            let message = status.map(|status| status.message).unwrap_or_default();
            session.out.show(&volume.to_any(), |_| format!("{what}: {message}."))
        }
    }
}

/// Calls off what is under way, and says how that ended.
async fn cancel(args: CancelArgs, session: &Session) -> Outcome {
    let volume = find(session, &args.name).await?;
    let asked = session.client.cancel_volume_task(volume.id).await?;
    let action = asked.spec.task.as_ref().map(|task| task.action.to_string()).unwrap_or_default();
    let what = format!("{}: {action}", asked.name);
    if args.wait.detach {
        return session.out.show(&asked.to_any(), |_| format!("{what} is being called off."));
    }
    let volume = ended(session, &asked, &args.wait, &what).await?;
    match volume.status.task.clone() {
        Some(status) if status.state == TaskState::Done => Err(Failure::Problem(
            Problem::new(Code::Conflict, format!("{what} was done before it could be called off"))
                .detail(status.message),
        )),
        status => {
            let message = status.map(|status| status.message).unwrap_or_default();
            session.out.show(&volume.to_any(), |_| format!("{what}: {message}."))
        }
    }
}

/// Waits until the task that was `asked` for has ended.
async fn ended(session: &Session, asked: &Volume, args: &WaitArgs, what: &str) -> Outcome<Volume> {
    let task = asked.spec.task.as_ref().map(|task| task.id.clone());
    let ended = |seen: Option<&Volume>| {
        let status = seen.and_then(|volume| volume.status.task.as_ref());
        seen.is_none()
            || status.is_some_and(|it| Some(&it.id) == task.as_ref() && it.state != TaskState::Running)
    };
    let missing = || Failure::not_found(format!("{what}: the volume was deleted meanwhile"), "");
    wait(session, asked.id, args, what, ended).await?.ok_or_else(missing)
}

/// Waits until a new volume is there.
async fn ready(session: &Session, made: Volume, args: &WaitArgs) -> Outcome {
    let name = made.name.clone();
    if args.detach {
        return session.out.show(&made.to_any(), |_| format!("{name} is being made."));
    }
    let failed = |volume: &Volume| {
        let unmet = volume.status.conditions.iter().find(|it| it.kind == "Ready" && it.reason == "Failed");
        unmet.map(|condition| condition.message.clone())
    };
    let done = |seen: Option<&Volume>| seen.is_none_or(|it| it.status.ready || failed(it).is_some());
    let Some(volume) = wait(session, made.id, args, &format!("{name} is being made"), done).await? else {
        return Err(Failure::not_found(format!("{name} was deleted meanwhile"), ""));
    };
    match failed(&volume) {
        Some(why) => Err(Failure::Problem(
            Problem::new(Code::Internal, format!("{name}: {why}"))
                .hint(format!("The node tries again; `freehold volume delete {name} --yes` gives it up.")),
        )),
        None => session.out.show(&volume.to_any(), |_| format!("{name} is ready.")),
    }
}

/// Looks at the volume until `done` of it; `None` when it is not there.
async fn wait(
    session: &Session,
    id: VolumeId,
    args: &WaitArgs,
    what: &str,
    done: impl Fn(Option<&Volume>) -> bool,
) -> Outcome<Option<Volume>> {
    let deadline = Instant::now() + args.wait_timeout.duration();
    let (mut reason, mut told) = (None, None);
    loop {
        match &reason {
            Some(reason) => session.progress.now(format!("{what}: {reason}")),
            None => session.progress.now(what),
        }
        if reason != told && !session.progress.is_live() {
            told.clone_from(&reason);
            reason.iter().for_each(|reason| session.progress.line(&format!("{what}: {reason}")));
        }
        let seen = match session.client.typed::<VolumeSpec>(id).await {
            Ok(volume) => Some(volume),
            Err(error) if error.code() == Code::NotFound => None,
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                pause().await;
                continue;
            }
            Err(error) => return Err(ClientError::into(error)),
        };
        if done(seen.as_ref()) {
            session.progress.clear();
            return Ok(seen);
        }
        reason = seen.as_ref().and_then(waits_for);
        if Instant::now() >= deadline {
            let problem =
                Problem::new(Code::Timeout, format!("{what}: it goes on after {}", args.wait_timeout));
            let problem = reason.into_iter().fold(problem, Problem::detail);
            let name = seen.as_ref().map_or_else(|| id.to_string(), |volume| volume.name.clone());
            let can_cancel = seen.is_some_and(|volume| volume.deleting.is_none() && volume.status.ready);
            let cancel = match can_cancel {
                true => format!("; `freehold volume cancel {name}` calls it off"),
                false => String::new(),
            };
            return Err(Failure::Problem(
                problem.hint(format!("`freehold volume describe {name}` says how it is getting on{cancel}.")),
            ));
        }
        pause().await;
    }
}

/// What its node says of what is under way with it.
fn waits_for(volume: &Volume) -> Option<String> {
    let task = volume.status.task.as_ref().filter(|task| task.state == TaskState::Running);
    let running = task.and_then(|task| Some(task.message.split_once(": ")?.1.to_owned()));
    let ready = volume.status.conditions.iter().find(|it| it.kind == "Ready" && !it.state);
    running.or_else(|| ready.map(|condition| condition.message.clone()))
}

/// Between two looks.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

/// The volume of that id or name, in full or within the app and env that are meant.
async fn find(session: &Session, name: &str) -> Outcome<Volume> {
    if let Ok(id) = name.parse::<VolumeId>() {
        return Ok(session.client.typed::<VolumeSpec>(id).await?);
    }
    let (app, env, volume) = parts(session, name)?;
    let full = VolumeSpec::name(app.as_str(), env.as_str(), volume.as_str());
    let project = session.parent_of(Kind::App).await?;
    let query = ResourceQuery { parent: project, ..ResourceQuery::of(Kind::Volume).named(full.clone()) };
    let found = session.client.resources(&query).await?.items.into_iter().next();
    let missing =
        || Failure::not_found(format!("there is no volume {full}"), "`freehold volume list` shows them.");
    found.ok_or_else(missing)?.typed().map_err(|error| Failure::local("read the volume", error))
}

/// `app/env/volume`, or `volume` of the app and env that are meant.
fn parts(session: &Session, name: &str) -> Outcome<(Name, Name, Name)> {
    let wrong = |text: &str| {
        Failure::usage(
            format!("`{text}` is not a volume's name"),
            "Write it like shop/prod/data, or like data beside --app shop --env prod.",
        )
    };
    let parse = |text: &str| text.parse::<Name>().map_err(|_| wrong(name));
    match name.split('/').collect::<Vec<_>>()[..] {
        [app, env, volume] => Ok((parse(app)?, parse(env)?, parse(volume)?)),
        [volume] => Ok((session.app()?, parse(&session.env())?, parse(volume)?)),
        _ => Err(wrong(name)),
    }
}

fn now_as_name() -> Outcome<Name> {
    let name = Timestamp::now().strftime("%Y-%m-%d-%H%M%S").to_string();
    name.parse().map_err(|error| Failure::local("name the snapshot", error))
}
