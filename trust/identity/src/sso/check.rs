//! Whether people could sign in with a provider, as far as can be seen without a person: what it publishes, and whether
//! it takes this house for its client.
//!
//! Called by the API for the owner of the house. Invariant: it changes nothing here or there.

use super::{Client, Relying, RelyingError, errand::Ticket, relying::Metadata, token::ALGORITHMS};
use freehold_model::{IdentityProvider, PublicUrl, secrets::Hidden, sso::CheckedProvider};
use openidconnect::core::{CoreClientAuthMethod, CoreJwsSigningAlgorithm, CoreResponseType};

impl Relying {
    /// Looks at a provider anew, whatever is kept of it.
    pub async fn check(
        &self,
        provider: &IdentityProvider,
        secret: Hidden,
        house: Option<&PublicUrl>,
    ) -> CheckedProvider {
        let mut found = CheckedProvider {
            name: provider.name.clone(),
            good: false,
            problems: vec![],
            algorithms: vec![],
            keys: 0,
        };
        if house.is_none() {
            found.problems.push(
                "This server does not know the address by which browsers reach it: start it with --public-url.".into(),
            );
        }
        match self.discover(&provider.spec.issuer).await {
            Err(error) => found.problems.push(format!("{error}. {}", way_out(&error))),
            Ok(metadata) => {
                look(&metadata, &mut found);
                if let Some(house) = house {
                    let client = Client { provider: provider.clone(), secret, house: house.clone() };
                    found.problems.extend(self.is_taken(&client, &metadata).await);
                }
            }
        }
        found.good = found.problems.is_empty();
        found
    }

    /// Shows a code that is none: who is taken for a client is told that the code is wrong, anybody else that they are.
    async fn is_taken(&self, client: &Client, metadata: &Metadata) -> Option<String> {
        let ticket = Ticket::unkept();
        let code = ticket.state();
        match self.exchange(client, metadata, &code, &ticket.verifier()).await {
            Err(RelyingError::Refused(why)) if why == "invalid_client" || why == "unauthorized_client" => {
                Some(format!(
                    "It answers `{why}`: it does not know the client id `{}`, or the secret is another. Copy both anew.",
                    client.provider.spec.client_id
                ))
            }
            Err(RelyingError::Fetch(error)) => Some(format!("Its token endpoint: {error}.")),
            _ => None,
        }
    }
}

fn look(metadata: &Metadata, found: &mut CheckedProvider) {
    let name = |alg: &CoreJwsSigningAlgorithm| {
        serde_json::to_value(alg).ok().and_then(|it| it.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let signs = metadata.id_token_signing_alg_values_supported();
    found.algorithms = signs.iter().map(name).collect();
    found.keys = metadata.jwks().keys().len() as u32;
    let mut problem = |wrong: bool, text: &str| {
        if wrong {
            found.problems.push(text.to_owned());
        }
    };
    problem(
        !signs.iter().any(|alg| ALGORITHMS.contains(alg)),
        "It signs by no algorithm that counts here: have it sign ID tokens with RS256, PS256, ES256 or EdDSA.",
    );
    problem(metadata.jwks().keys().is_empty(), "It has published no key that could be read.");
    problem(metadata.token_endpoint().is_none(), "It has no token endpoint: it cannot do the code flow.");
    let flows = metadata.response_types_supported();
    problem(
        !flows.iter().any(|one| one.iter().eq([&CoreResponseType::Code])),
        "It does not offer the response type `code`: enable the authorization code flow there.",
    );
    let methods = &metadata.additional_metadata().code_challenge_methods_supported;
    problem(
        methods.as_ref().is_some_and(|all| !all.iter().any(|one| one == "S256")),
        "It does not offer PKCE with S256, which is always used here.",
    );
    let by_secret = [CoreClientAuthMethod::ClientSecretBasic, CoreClientAuthMethod::ClientSecretPost];
    problem(
        metadata
            .token_endpoint_auth_methods_supported()
            .is_some_and(|all| !all.iter().any(|one| by_secret.contains(one))),
        "It takes no client secret (client_secret_basic or client_secret_post).",
    );
}

fn way_out(error: &RelyingError) -> &'static str {
    match error {
        RelyingError::Fetch(_) => "Is the issuer's address right, and can this server reach it?",
        _ => {
            "The issuer is compared letter by letter, a slash at its end included; `/.well-known/openid-configuration` under it says it."
        }
    }
}
