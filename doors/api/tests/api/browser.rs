//! A browser for tests: it keeps cookies, sends forms, and follows no redirect.

use crate::world::{World, bytes};
use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use serde_json::json;

pub(crate) const PASSWORD: &str = "four words of ours";

/// A browser with its cookies; it follows no redirect.
pub(crate) struct Browser<'a> {
    world: &'a World,
    pub(crate) cookies: Vec<(String, String)>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        self.headers.get("location").map_or("", |it| it.to_str().unwrap())
    }

    /// The value of the first hidden field of that name.
    pub(crate) fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest =
            self.text.split_once(&mark).unwrap_or_else(|| panic!("no field {name} in {}", self.text)).1;
        rest.split('"').next().unwrap().to_owned()
    }
}

impl<'a> Browser<'a> {
    pub(crate) fn new(world: &'a World) -> Browser<'a> {
        Browser { world, cookies: vec![] }
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: Option<String>,
    ) -> Page {
        let mut request = Request::builder().method(method).uri(path).header("host", "house.example");
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, Body::from);
        let response = self.world.send(request.body(body).unwrap()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        for set in headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|cookie| cookie.0 != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.into(), value.into()));
            }
        }
        Page { status, headers, text: String::from_utf8(bytes(response).await).unwrap() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.ask("GET", path, &[], None).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.ask("POST", path, &[("origin", "http://house.example")], Some(form(fields))).await
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str, next: &str) -> Page {
        let csrf = self.get("/signin").await.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("next", next), ("user", name), ("password", password)];
        self.post("/signin", &fields).await
    }

    pub(crate) fn session(&self) -> Option<&str> {
        self.cookies.iter().find(|cookie| cookie.0 == "freehold_session").map(|cookie| cookie.1.as_str())
    }
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let text = |text: &str| text.bytes().map(|c| format!("%{c:02x}")).collect::<String>();
    fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join("&")
}

/// Makes a user who has chosen [`PASSWORD`]; their id.
pub(crate) async fn user(world: &World, name: &str) -> String {
    let (status, made) =
        world.post("/v1/users", &json!({ "name": name, "bindings": [{ "role": "developer" }] })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let (status, taken) =
        world.post("/v1/invites", &json!({ "invite": made["invite"], "password": PASSWORD })).await;
    assert_eq!(status, StatusCode::CREATED, "{taken}");
    made["user"]["id"].as_str().unwrap().to_owned()
}

/// A house with the user `ada`.
pub(crate) async fn house() -> World {
    let world = World::new();
    world.tree();
    user(&world, "ada").await;
    world
}
