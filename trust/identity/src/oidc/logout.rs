//! Signing out by an app's wish (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Invariant: nobody is sent to an address that the client's manifest does not name; and who did not show the ID
//! token of the very session that would end is asked first, so that no foreign page can sign anybody out.

use super::{
    claims::TokenClaims,
    client::find_client,
    error::{OidcError, Undecided},
    params::OidcParams,
};
use freehold_reconcile::View;

/// What an app asks for, once it was found to be in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignOut {
    /// The name of the app, if it said.
    pub app: Option<String>,
    /// The session that its ID token was made in.
    pub session: Option<String>,
    /// Where the person goes then.
    pub then: Option<String>,
}

/// Reads a request; `hint` is the ID token that it shows, if this house signed it.
///
/// # Errors
/// When something of it is wrong, so that nothing of it is done; or the view fails.
pub fn ask_sign_out(
    view: &dyn View,
    params: &OidcParams,
    hint: Option<&TokenClaims>,
    issuer: &str,
) -> Result<SignOut, Undecided> {
    params.once(&["id_token_hint", "client_id", "post_logout_redirect_uri", "state"])?;
    if params.get("id_token_hint").is_some() && hint.is_none_or(|hint| hint.iss != issuer) {
        return Err(OidcError::request("id_token_hint is no ID token of this house.").into());
    }
    let named = params.get("client_id");
    if let (Some(named), Some(hint)) = (named, hint)
        && named != hint.aud
    {
        return Err(OidcError::request("client_id and id_token_hint are of different clients.").into());
    }
    let client = match named.or(hint.map(|hint| hint.aud.as_str())) {
        Some(id) => find_client(view, id)?,
        None => None,
    };
    let then = match (params.get("post_logout_redirect_uri"), &client) {
        (None, _) => None,
        (Some(_), None) => {
            let why =
                "post_logout_redirect_uri needs an id_token_hint or the client_id of an app that runs here.";
            return Err(OidcError::request(why).into());
        }
        (Some(wanted), Some(client)) => {
            if !client.sign_in.after_sign_out.iter().any(|known| known == wanted) {
                let why = "post_logout_redirect_uri is not in the `after_sign_out` of the app's [sign_in].";
                return Err(OidcError::request(why).into());
            }
            Some(with_state(wanted, params.get("state")))
        }
    };
    Ok(SignOut { app: client.map(|client| client.app), session: hint.map(|hint| hint.sid.clone()), then })
}

fn with_state(address: &str, state: Option<&str>) -> String {
    let Some(state) = state else { return address.to_owned() };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}{query}")
}
