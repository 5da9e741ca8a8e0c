//! The OpenAPI document: what the routes say of themselves, and what is true of all of them.

use freehold_identity::Needs;
use freehold_model::{Problem, api, exec, kinds, logs, resource, traffic};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Ref, RefOr, Response, ResponseBuilder,
        content::ContentBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// What is in the document beside the routes: every kind's spec and status, and the ways to sign in.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Freehold",
        description = "The API of a cloud you own. Every failure is an RFC 9457 problem with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "state", description = "Resources of every kind, and the events that changed them"),
        (name = "run", description = "Apps: plans, operations, receipts, instances"),
        (name = "watch", description = "What workloads print, and what endpoints carry"),
        (name = "images", description = "The built-in registry; /v2 speaks the OCI distribution protocol 1.1"),
        (name = "secrets", description = "Values that only their workload sees, and the key that seals them"),
        (name = "machines", description = "Nodes that join, their certificates, and the authority that issues them"),
        (name = "people", description = "Tokens, orgs, projects, and who may do what where"),
        (name = "oidc", description = "Signing in to apps: this house is their OpenID provider"),
        (name = "sso", description = "Signing in to this house with other OpenID providers"),
        (name = "server", description = "The server itself"),
    ),
    security(("bearer" = []), ("basic" = [])),
    modifiers(&SignIn),
    components(schemas(
        Problem, api::Change, exec::ExecRequest, logs::LogLine, traffic::EndpointTraffic, traffic::AccessLine, resource::Condition,
        kinds::OrgSpec, kinds::OrgStatus, kinds::ProjectSpec, kinds::ProjectStatus,
        kinds::AppSpec, kinds::AppStatus, kinds::EnvSpec, kinds::EnvStatus,
        kinds::ReleaseSpec, kinds::ReleaseStatus, kinds::RolloutSpec, kinds::RolloutStatus,
        kinds::ReceiptSpec, kinds::ReceiptStatus, kinds::InstanceSpec, kinds::InstanceStatus,
        kinds::EndpointSpec, kinds::EndpointStatus, kinds::VolumeSpec, kinds::VolumeStatus,
        kinds::SecretSpec, kinds::SecretStatus, kinds::NodeSpec, kinds::NodeStatus,
        kinds::AuthoritySpec, kinds::AuthorityStatus, kinds::IdentitySpec, kinds::IdentityStatus,
        kinds::JoinTokenSpec, kinds::JoinTokenStatus,
        kinds::TokenSpec, kinds::TokenStatus, kinds::UserSpec, kinds::UserStatus, kinds::SessionSpec, kinds::SessionStatus, kinds::GrantSpec, kinds::GrantStatus, kinds::IssuerSpec, kinds::IssuerStatus, kinds::IdentityProviderSpec, kinds::IdentityProviderStatus, kinds::DeviceSpec, kinds::DeviceStatus, kinds::GatewaySpec, kinds::GatewayStatus, kinds::ImageSpec, kinds::ImageStatus,
        kinds::Template, kinds::ImageRef,
    ))
)]
pub(crate) struct Frame;

struct SignIn;

impl Modify for SignIn {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = |scheme, description: &str| {
            SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
        };
        let bearer = scheme(HttpAuthScheme::Bearer, "A token, as the server's data directory keeps it");
        let basic = scheme(HttpAuthScheme::Basic, "Any user, the token as password");
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("basic", basic);
        let client = scheme(HttpAuthScheme::Basic, "The client's id and secret, each encoded as in a form");
        components.add_security_scheme("client", client);
        let access = scheme(HttpAuthScheme::Bearer, "An access token that /oidc/token gave");
        components.add_security_scheme("access", access);
        let certificate = "The certificate that a node was given when it joined; on the node door alone";
        let certificate = SecurityScheme::MutualTls {
            description: Some(certificate.to_owned()),
            extensions: None,
            deprecated: None,
        };
        components.add_security_scheme("certificate", certificate);
    }
}

/// Says of every operation what it does and what that takes, as the access table has it: `x-access`.
pub(crate) fn add_access(document: &mut utoipa::openapi::OpenApi) {
    for (method, path, action, place) in crate::access::rows() {
        let Some(item) = document.paths.paths.get_mut(path) else { continue };
        let operation = match method.as_str() {
            "GET" => &mut item.get,
            "POST" => &mut item.post,
            "DELETE" => &mut item.delete,
            "PUT" => &mut item.put,
            _ => &mut item.patch,
        };
        let needs = match action.needs() {
            Needs::Nothing => "nothing".to_owned(),
            Needs::SignedIn => "signed-in".to_owned(),
            Needs::Machine => "machine".to_owned(),
            Needs::Control => "control".to_owned(),
            Needs::Node => "node".to_owned(),
            Needs::JoinToken => "join-token".to_owned(),
            Needs::Role(role) => role.to_string(),
        };
        let said = serde_json::json!({ "action": action.name(), "needs": needs, "place": place.name() });
        if let Some(operation) = operation {
            let extensions = operation.extensions.get_or_insert_with(Default::default);
            extensions.insert("x-access".to_owned(), said);
        }
    }
}

/// Adds to every operation that it may fail with a problem.
pub(crate) fn add_problems(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            add_problem(operation);
        }
    }
}

fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response: Response = ResponseBuilder::new()
        .description("What was wrong, where, and the way out")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
}
