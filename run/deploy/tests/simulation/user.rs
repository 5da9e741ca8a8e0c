//! A person at the command line: plans, thinks, applies; sometimes the plan is stale by then.

use freehold_deploy::{
    Asking, PlanError, Request, apply, cancel, check_fresh, plan_deploy, plan_remove, plan_rollback,
};
use freehold_model::{
    Actor, Bytes, Digest, ImageRef, Manifest, Millicores, Millis, Name, Plan, ReceiptId, ReceiptSpec, Txn,
    manifest::{Check, Driver, Endpoint, Probe, Process, Protocol, ProxyProtocol, Volume},
};
use freehold_reconcile::{
    View as _, ViewExt,
    sim::{Context, Part},
};
use jiff::Timestamp;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// A port that the edge can't open.
pub(crate) const TAKEN: u16 = 8003;

/// What was asked for, and the receipt, if the request was accepted.
pub(crate) struct Asked {
    pub(crate) receipt: Option<ReceiptId>,
    /// Whether it starts instances that never become healthy.
    pub(crate) broken: bool,
    /// Whether the plan that was looked at must still hold when its turn comes.
    pub(crate) pinned: bool,
}

/// Does one operation after another.
pub(crate) struct User {
    left: u32,
    next: Option<Timestamp>,
    state: State,
    asked: Rc<RefCell<Vec<Asked>>>,
    /// Gives processes priorities.
    ranks: bool,
}

/// Time passes between each of these.
enum State {
    Idle,
    Looking(Wish, Box<Plan>),
    Sending(Box<Txn>, Asked),
    Cancelling(ReceiptId),
}

#[derive(Clone)]
enum Wish {
    Deploy(Manifest, bool),
    Rollback(Name, Option<u32>),
    Remove(Name),
    Cancel(ReceiptId),
}

impl User {
    pub(crate) fn new(left: u32, asked: Rc<RefCell<Vec<Asked>>>, ranks: bool) -> User {
        User { left, next: None, state: State::Idle, asked, ranks }
    }

    fn done(&mut self, asked: Asked) -> State {
        self.left -= 1;
        self.asked.borrow_mut().push(asked);
        State::Idle
    }

    fn nothing(&mut self) -> State {
        self.done(Asked { receipt: None, broken: false, pinned: false })
    }

    fn act(&mut self, context: &mut Context) -> State {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {
                let wish = wish(context, self.ranks);
                if let Wish::Cancel(receipt) = wish {
                    return State::Cancelling(receipt);
                }
                match plan(context, &wish) {
                    Ok(plan) => State::Looking(wish, Box::new(plan)),
                    Err(error) => self.refused(context, &error),
                }
            }
            State::Looking(wish, seen) => match self.apply(context, &wish, &seen) {
                Ok(state) => state,
                Err(error) => self.refused(context, &error),
            },
            State::Sending(txn, asked) => {
                let outcome = context.store.commit_now(*txn);
                context.tell(format_args!("user: {:?}: {outcome:?}", asked.receipt));
                let receipt = asked.receipt.filter(|_| outcome.is_ok());
                self.done(Asked { receipt, ..asked })
            }
            State::Cancelling(receipt) => {
                let (view, actor) = (context.store.view_now(), Actor::User("admin".into()));
                let outcome = cancel(&view, receipt, &actor, "request", context.now());
                context.tell(format_args!("user cancels {receipt}: {outcome:?}"));
                if let Ok(Some(txn)) = outcome {
                    // A conflict: it was too late.
                    let _ = context.store.commit_now(txn);
                }
                self.nothing()
            }
        }
    }

    fn apply(&mut self, context: &mut Context, wish: &Wish, seen: &Plan) -> Result<State, PlanError> {
        let plan = plan(context, wish)?;
        check_fresh(&plan, Some(&seen.hash))?;
        let (actor, view, now) = (Actor::User("admin".into()), context.store.view_now(), context.now());
        let pinned = context.random.one_in(4);
        let asking = Asking { actor: &actor, request: "request", now, pinned };
        let (txn, receipt) = apply(&view, &plan, &asking, &mut context.ids)?;
        context.tell(format_args!("user: {:?} {} to {:?}", plan.operation, plan.app, plan.release));
        let asked = Asked { receipt: Some(receipt), broken: is_broken(&plan), pinned };
        Ok(State::Sending(Box::new(txn), asked))
    }

    fn refused(&mut self, context: &mut Context, error: &PlanError) -> State {
        context.tell(format_args!("user is refused: {}", error.problem()));
        self.nothing()
    }
}

impl Part for User {
    fn step(&mut self, context: &mut Context) -> Option<Timestamp> {
        if self.next.is_some_and(|next| next > context.now()) || self.left == 0 {
            return self.next.filter(|_| self.left > 0);
        }
        self.state = self.act(context);
        let wait = match self.state {
            State::Idle if context.random.one_in(2) => (100, 5_000),
            State::Idle => (5_000, 60_000),
            _ => (1, 300),
        };
        self.next = Some(context.soon(wait.0, wait.1));
        self.next
    }
}

fn plan(context: &Context, wish: &Wish) -> Result<Plan, PlanError> {
    let (view, project, env) = (context.store.view_now(), name("default"), name("prod"));
    match wish.clone() {
        Wish::Deploy(manifest, restart) => {
            let images = manifest.process.keys().map(|process| (process.clone(), image())).collect();
            plan_deploy(&view, &Request { project: &project, env: &env, manifest, images, restart })
        }
        Wish::Rollback(app, to) => plan_rollback(&view, &project, &app, &env, to),
        Wish::Remove(app) => plan_remove(&view, &project, &app),
        Wish::Cancel(receipt) => unreachable!("{receipt}: a cancellation has no plan"),
    }
}

fn wish(context: &mut Context, ranks: bool) -> Wish {
    if let Some(waiting) = waiting(context)
        && context.random.one_in(3)
    {
        return Wish::Cancel(waiting);
    }
    let app = name(context.random.pick::<&str>(&["alpha", "alpha", "beta"]));
    match context.random.between(0, 12) {
        0 => Wish::Remove(app),
        3 | 4 => match last_receipt(context) {
            Some(receipt) => Wish::Cancel(receipt),
            None => Wish::Remove(app),
        },
        1 | 2 => {
            let to = Some(context.random.between(1, 4) as u32).filter(|_| context.random.one_in(3));
            Wish::Rollback(app, to)
        }
        _ => {
            let restart = context.random.one_in(8);
            let mut manifest = manifest(context, app);
            if ranks {
                let all = manifest.process.values_mut();
                for it in all {
                    it.priority = *context.random.pick(&[-10, 0, 0, 100, 200]);
                    it.memory = Bytes(*context.random.pick(&[256, 256, 512]) << 20);
                }
            }
            Wish::Deploy(manifest, restart)
        }
    }
}

/// An operation that waits for its turn.
fn waiting(context: &Context) -> Option<ReceiptId> {
    let waiting = context.store.view_now().claims("waiting").unwrap_or_default();
    waiting.first().and_then(|claim| ReceiptId::try_from(claim.owner).ok())
}

/// The newest receipt, whatever has become of it.
fn last_receipt(context: &Context) -> Option<ReceiptId> {
    let receipts = context.store.view_now().all::<ReceiptSpec>(None).unwrap_or_default();
    receipts.iter().max_by_key(|receipt| (receipt.spec.accepted, receipt.id)).map(|receipt| receipt.id)
}

fn manifest(context: &mut Context, app: Name) -> Manifest {
    let mut process = BTreeMap::from([(name("web"), a_process(context))]);
    if context.random.one_in(4) {
        process.insert(name("worker"), a_process(context));
        if context.random.one_in(2) {
            process.entry(name("web")).and_modify(|web| web.after = vec![name("worker")]);
        }
    }
    let mut volume = vec![];
    if context.random.one_in(2) {
        let store = a_process(context);
        process.insert(name("store"), Process { count: store.count.min(1), ..store });
        // Sometimes it moves from one process to another, and sometimes it is left.
        let has_it = *context.random.pick(&["store", "store", "store", "web"]);
        if has_it == "web" {
            let web = process.get_mut(&name("web")).expect("there is one");
            web.count = web.count.min(1);
        }
        if !context.random.one_in(5) {
            let (path, size) = ("/data".into(), Bytes(1 << 30));
            volume.push(Volume { name: name("data"), process: name(has_it), path, size });
        }
    }
    let own = if app.as_str() == "alpha" { 8000 } else { 8001 };
    let listen = match context.random.between(0, 12) {
        0 | 1 => 8002,
        2 => TAKEN,
        _ => own,
    };
    let web = Endpoint {
        process: name("web"),
        listen,
        target: 80,
        protocol: Protocol::Tcp,
        proxy_protocol: ProxyProtocol::Off,
        trusted_proxies: vec![],
        idle_timeout: None,
        max_connections: None,
    };
    let endpoint = if context.random.one_in(6) { vec![] } else { vec![web] };
    Manifest { schema: 1, app, process, endpoint, deploy: Default::default(), volume, sign_in: None }
}

fn a_process(context: &mut Context) -> Process {
    let behaviours = ["ok", "ok", "ok", "ok", "ok", "slow", "slow", "crash", "mute", "missing"];
    let behaviour = *context.random.pick(&behaviours);
    let version = context.random.between(0, 3).to_string();
    let check = Check {
        probe: Probe::Tcp { port: 80 },
        every: Millis(1_000),
        timeout: Millis(500),
        unhealthy_after: 3,
        restart_after: Default::default(),
        grace: Millis(10_000),
    };
    Process {
        image: "app:1".into(),
        driver: Driver::Container,
        command: Some(vec![behaviour.into()]),
        args: None,
        secrets: vec![],
        count: *context.random.pick(&[0, 1, 1, 2, 2, 3]),
        cpu: Millicores(250),
        memory: Bytes(*context.random.pick(&[64, 64, 64, 512]) << 20),
        env: BTreeMap::from([("VERSION".into(), version)]),
        pids: 512,
        disk: freehold_model::manifest::DEFAULT_DISK,
        stop_timeout: Millis(10_000),
        check: Some(check),
        egress: vec![],
        after: vec![],
        affinity: Default::default(),
        spread: vec![],
        tolerate: vec![],
        priority: 0,
        lost_after: Millis(*context.random.pick(&[5_000, 20_000, 60_000])),
    }
}

/// Whether it would start something that cannot become healthy.
fn is_broken(plan: &Plan) -> bool {
    let Some(manifest) = &plan.manifest else { return false };
    let bad = |command: &Option<Vec<String>>| {
        command.as_ref().is_some_and(|words| ["crash", "mute", "missing"].contains(&words[0].as_str()))
    };
    if manifest.endpoint.iter().any(|it| it.listen == TAKEN) && !plan.is_noop() {
        return true;
    }
    plan.changes.iter().any(|change| {
        let process = manifest.process.iter().find(|(name, _)| name.as_str() == change.name);
        change.kind == "process" && change.start > 0 && process.is_some_and(|(_, it)| bad(&it.command))
    })
}

fn image() -> ImageRef {
    ImageRef { reference: "app:1".into(), digest: Digest::of(b"image") }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}
