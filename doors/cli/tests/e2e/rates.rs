//! Limits on how often somebody may ask, through the built binary: what is said, to whom, and who can raise it.

use crate::world::{Ended, World};
use serde_json::Value;

/// Asks so many times with a token, on one connection each; the heads and bodies of the answers.
fn ask(world: &World, token: &str, from: &str, times: usize) -> Vec<(u16, String, Value)> {
    let url = "http://127.0.0.1:7411/v1/whoami";
    let mut args = vec!["-sS".to_owned(), "--interface".into(), from.into(), "-i".into()];
    args.extend(["-H".into(), format!("Authorization: Bearer {token}")]);
    args.extend((0..times).map(|_| url.to_owned()));
    let out = Ended::of(world.command("curl").args(&args)).ok().out;
    let answers = out.split("HTTP/1.1 ").skip(1).map(|answer| {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head[..3].parse().unwrap();
        (code, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    });
    answers.collect()
}

fn retry_after(head: &str) -> u64 {
    let line = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    line.unwrap_or_else(|| panic!("{head}")).trim().parse().unwrap()
}

#[test]
fn who_asks_too_often_is_told_the_limit_the_use_and_who_can_raise_it() {
    let Some(world) = World::start() else { return };
    let made = world.json(&["token", "create", "ci", "--role", "developer", "--rate", "5/h"]);
    let token = made["token"].as_str().unwrap().to_owned();
    world.plant_value(&token);
    let said = ask(&world, &token, "127.0.0.1", 7);
    let codes: Vec<u16> = said.iter().map(|it| it.0).collect();
    assert_eq!(codes, [200, 200, 200, 200, 200, 429, 429]);
    let (_, head, problem) = &said[5];
    // One of five an hour is due every twelve minutes.
    let wait = retry_after(head);
    assert!((600..=721).contains(&wait), "{wait}");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert_eq!((&problem["code"], &problem["status"]), (&"rate_limited".into(), &429.into()), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("token ci") && detail.contains("may make 5/h requests, 5 of them at once"),
        "{detail}"
    );
    assert!(detail.contains(&format!("room again in {wait} s")), "{detail}");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("admin of the house") && hint.contains("quota set --org home --rate"), "{hint}");
    assert!(hint.contains("token create NAME --rate"), "{hint}");

    // It is that token's alone, wherever it comes from; others, and the house's own, go on.
    assert_eq!(ask(&world, &token, "127.0.0.9", 1)[0].0, 429);
    let other = world.json(&["token", "create", "other", "--role", "viewer"]);
    let other = other["token"].as_str().unwrap().to_owned();
    world.plant_value(&other);
    assert_eq!(ask(&world, &other, "127.0.0.1", 1)[0].0, 200);
    world.freehold(&["whoami"]).ok();

    // The command line says the same, and does not wait so long for it.
    let mut command = world.command(crate::world::FREEHOLD);
    let ended = Ended::of(
        command.args(["status"]).env("FREEHOLD_TOKEN", &token).env("FREEHOLD_URL", "http://127.0.0.1:7411"),
    );
    assert_ne!(ended.code, 0);
    ended.says("Too many requests").says("quota set --org home --rate");

    // Who can raise it does, and it counts at once; a token with a rate of its own keeps that.
    world.freehold(&["quota", "set", "--org", "home", "--rate", "3/h"]).ok();
    let third = world.json(&["token", "create", "third", "--role", "viewer"]);
    let third = third["token"].as_str().unwrap().to_owned();
    world.plant_value(&third);
    let codes = |said: Vec<(u16, String, Value)>| said.into_iter().map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(codes(ask(&world, &third, "127.0.0.1", 5)), [200, 200, 200, 429, 429]);
    world.freehold(&["quota", "set", "--org", "home", "--rate", "6000/min"]).ok();
    assert_eq!(codes(ask(&world, &third, "127.0.0.1", 2)), [200, 200]);
    assert_eq!(ask(&world, &token, "127.0.0.1", 1)[0].0, 429);
}
