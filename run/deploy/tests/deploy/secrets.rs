//! Versions of secrets: pinned by a deploy, kept by a release, back with a rollback.

use crate::house::{House, image, manifest, name};
use freehold_deploy::{PlanError, apply, plan_renewal};
use freehold_model::{
    Actor, App, AppId, AppSpec, Code, Env, EnvId, EnvSpec, Manifest, Plan, ProjectSpec, Secret, SecretId,
    SecretName, SecretSpec, SecretVersion, Txn,
    manifest::{CLIENT_SECRET, SecretUse},
    plan::Action,
};
use freehold_reconcile::{Clock as _, Ids as _, ViewExt as _};

fn with_key(count: u32) -> Manifest {
    let mut manifest = manifest(count);
    let key = SecretUse { name: key(), env: Some("KEY".into()), file: None };
    manifest.process.get_mut("web").unwrap().secrets = vec![key];
    manifest
}

fn key() -> SecretName {
    "KEY".parse().unwrap()
}

fn with_sign_in() -> Manifest {
    let mut manifest = manifest(1);
    let sign_in = serde_json::json!({
        "process": "web", "redirect": ["https://a.example/cb"],
        "env": { "issuer": "OIDC_ISSUER", "client_id": "OIDC_CLIENT_ID", "client_secret": "OIDC_CLIENT_SECRET" },
    });
    manifest.sign_in = Some(serde_json::from_value(sign_in).unwrap());
    let secret = SecretUse { name: CLIENT_SECRET.parse().unwrap(), env: Some("SECRET".into()), file: None };
    manifest.process.get_mut("web").unwrap().secrets = vec![secret];
    manifest.name_issuer("https://home.example", "default.guestbook.prod");
    manifest
}

/// Between the plan and its doing, the vault makes what the plan counts on; so the plan stays fresh.
#[test]
fn the_secret_of_a_client_is_made_after_the_plan_and_changes_nothing_of_it() {
    for deployed_before in [false, true] {
        let mut house = House::new();
        if deployed_before {
            house.deploy_well(&manifest(1));
        }
        let planned = |house: &House| house.plan(&with_sign_in(), &image("one"), false).unwrap();
        let plan = planned(&house);
        assert!(plan.blockers.is_empty(), "{:?}", plan.blockers);
        assert_eq!(plan.secrets[&CLIENT_SECRET.parse::<SecretName>().unwrap()], 1);
        let shown = plan.changes.iter().find(|change| change.kind == "sign-in").unwrap();
        assert_eq!((shown.name.as_str(), shown.action), ("default.guestbook.prod", Action::Add));
        let refused = house.apply(&plan);
        assert!(matches!(refused, Err(PlanError::NoClientSecret { .. })), "{refused:?}");
        house.set_named(CLIENT_SECRET, true);
        assert_eq!(planned(&house).hash, plan.hash, "the plan is stale once its secret is made");
        house.apply(&plan).unwrap();
    }
}

impl House {
    /// As the vault does it, but for the value.
    fn set(&mut self, text: bool) {
        self.set_named("KEY", text);
    }

    fn set_named(&mut self, name: &str, text: bool) {
        let view = self.view();
        let now = self.clock.now();
        let mut txn = Txn::new(Actor::System, "set", "test");
        let project = view.all::<ProjectSpec>(None).unwrap()[0].id;
        let app = view.named::<AppSpec>(Some(project.into()), "guestbook").unwrap().unwrap_or_else(|| {
            let app = App::new(AppId(self.ids.ulid()), "guestbook", Some(project.into()), AppSpec {}, now);
            txn.put(&app);
            app
        });
        let env = view.named::<EnvSpec>(Some(app.any_id()), "prod").unwrap().unwrap_or_else(|| {
            let env = Env::new(EnvId(self.ids.ulid()), "prod", Some(app.any_id()), EnvSpec::default(), now);
            txn.put(&env);
            env
        });
        let found = view.named::<SecretSpec>(Some(env.any_id()), name).unwrap();
        let mut secret = found.clone().unwrap_or_else(|| {
            Secret::new(SecretId(self.ids.ulid()), name, Some(env.any_id()), SecretSpec::default(), now)
        });
        let number = secret.spec.last + 1;
        secret.spec.versions.push(SecretVersion {
            number,
            sealed: "sealed".into(),
            key: "age1".into(),
            text,
            fingerprint: "00000000".into(),
            created: now,
            actor: Actor::System,
        });
        (secret.spec.current, secret.spec.last) = (Some(number), number);
        if found.is_some() {
            txn.put_spec(&secret)
        } else {
            txn.put(&secret)
        };
        self.store.commit_now(txn).unwrap();
    }

    fn take(&mut self, number: u32) {
        let mut secret = self.view().all::<SecretSpec>(None).unwrap().remove(0);
        secret.spec.versions.retain(|version| version.number != number);
        secret.spec.current = secret.spec.versions.last().map(|version| version.number);
        let mut txn = Txn::new(Actor::System, "remove", "test");
        txn.put_spec(&secret);
        self.store.commit_now(txn).unwrap();
    }

    fn renewal(&self) -> Result<Plan, PlanError> {
        plan_renewal(&self.view(), &name("default"), &name("guestbook"), &name("prod"))
    }

    /// The versions that what runs was made with.
    fn runs(&self) -> Vec<u32> {
        let serving = self.instances().into_iter().filter(|instance| instance.spec.serving);
        serving.flat_map(|it| it.spec.template.secrets).map(|secret| secret.version).collect()
    }
}

#[test]
fn one_without_a_value_stops_the_plan_and_says_which_command_gives_it_one() {
    let house = House::new();
    let plan = house.plan(&with_key(1), &image("one"), false).unwrap();
    assert_eq!(plan.secrets, [(key(), 0)].into());
    let blocker = &plan.blockers[0];
    assert_eq!((blocker.code, blocker.title.as_str()), (Code::Invalid, "web: secret KEY has no value"));
    assert_eq!(blocker.hint.as_deref(), Some("`freehold secret set KEY -a guestbook -e prod` gives it one"));
}

#[test]
fn a_value_set_before_the_first_deploy_is_used_by_it() {
    let mut house = House::new();
    house.set(true);
    house.reconcile();
    let plan = house.plan(&with_key(1), &image("one"), false).unwrap();
    assert!(plan.blockers.is_empty() && plan.release == Some(1), "{plan:?}");
    let fields = &plan.changes[0].fields;
    let shown = fields.iter().find(|field| field.path == "secret.KEY").unwrap();
    assert_eq!(shown.after.as_deref(), Some("version 1 as variable KEY"));
    let receipt = house.deploy_well(&with_key(1));
    assert_eq!((receipt.spec.secrets, house.runs()), ([(key(), 1)].into(), vec![1]));
}

#[test]
fn another_value_changes_nothing_until_a_deploy_and_comes_back_with_a_rollback() {
    let mut house = House::new();
    house.set(true);
    house.deploy_well(&with_key(2));
    house.set(true);
    house.reconcile();
    assert_eq!(house.runs(), [1, 1]);
    let plan = house.plan(&with_key(2), &image("one"), false).unwrap();
    assert_eq!((plan.changes[0].action, plan.changes[0].start), (Action::Change, 2));
    house.deploy_well(&with_key(2));
    assert_eq!(house.runs(), [2, 2]);
    let back = house.plan_rollback(None).unwrap();
    assert_eq!(back.secrets, [(key(), 1)].into());
    let receipt = house.apply(&back).unwrap();
    house.let_it_go_well(receipt);
    assert_eq!(house.runs(), [1, 1]);
    // What was removed by force cannot be had back.
    house.take(2);
    let gone = house.plan_rollback(Some(2)).unwrap();
    assert_eq!(gone.blockers[0].title, "web: version 2 of secret KEY was removed");
}

#[test]
fn a_renewal_runs_the_present_release_with_the_present_versions() {
    let mut house = House::new();
    assert!(matches!(house.renewal(), Err(PlanError::NotFound { .. })));
    house.set(true);
    assert!(matches!(house.renewal(), Err(PlanError::NothingRuns { .. })));
    house.deploy_well(&with_key(1));
    assert!(house.renewal().unwrap().is_noop());
    house.set(true);
    let plan = house.renewal().unwrap();
    assert_eq!((plan.release, plan.secrets.clone()), (Some(2), [(key(), 2)].into()));
    let receipt = house.apply(&plan).unwrap();
    house.let_it_go_well(receipt);
    assert_eq!(house.runs(), [2]);
}

#[test]
fn a_renewal_that_waits_renews_what_runs_by_then() {
    let mut house = House::new();
    house.set(true);
    house.deploy_well(&with_key(1));
    let mut other = with_key(1);
    other.process.get_mut("web").unwrap().env.insert("LOG".into(), "debug".into());
    let first = house.deploy(&other);
    house.set(true);
    let renewal = house.renewal().unwrap();
    let second = house.apply(&renewal).unwrap();
    house.let_it_go_well(first);
    house.let_it_go_well(second);
    assert_eq!(house.runs(), [2]);
    let env = &house.instances().into_iter().find(|it| it.spec.serving).unwrap().spec.template.env;
    assert_eq!(env.get("LOG").map(String::as_str), Some("debug"), "it went back to the release before");
}

#[test]
fn bytes_that_no_variable_can_hold_are_refused_with_the_way_out() {
    let mut house = House::new();
    house.set(false);
    let plan = house.plan(&with_key(1), &image("one"), false).unwrap();
    assert_eq!(plan.blockers[0].title, "web: secret KEY cannot be an environment variable");
    assert!(plan.blockers[0].hint.as_ref().unwrap().contains("file = "));
    let mut file = with_key(1);
    let secret = &mut file.process.get_mut("web").unwrap().secrets[0];
    (secret.env, secret.file) = (None, Some("/run/key".into()));
    assert!(house.plan(&file, &image("one"), false).unwrap().blockers.is_empty());
}

#[test]
fn a_version_that_goes_while_it_is_deployed_refuses_the_deploy() {
    let mut house = House::new();
    house.set(true);
    let plan = house.plan(&with_key(1), &image("one"), false).unwrap();
    let actor = Actor::User("admin".into());
    let asking =
        freehold_deploy::Asking { actor: &actor, request: "r", now: house.clock.now(), pinned: false };
    let view = house.view();
    let (txn, _) = apply(&view, &plan, &asking, &mut house.ids).unwrap();
    house.take(1);
    assert!(house.store.commit_now(txn).is_err());
}

#[test]
fn secrets_go_with_their_app() {
    let mut house = House::new();
    house.set(true);
    house.deploy_well(&with_key(1));
    let receipt = house.remove();
    house.let_it_go_well(receipt);
    assert!(house.view().all::<SecretSpec>(None).unwrap().is_empty());
}
