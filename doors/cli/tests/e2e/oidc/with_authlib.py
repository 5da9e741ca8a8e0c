"""Signs ada in to an app with authlib, as the app and as her browser, and out again."""

import html
import os
import re
import sys
from urllib.parse import urljoin

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the house of the test is on 127.0.0.1
issuer, client_id = os.environ["OIDC_ISSUER"], os.environ["OIDC_CLIENT_ID"]
client_secret, redirect = os.environ["OIDC_CLIENT_SECRET"], os.environ["REDIRECT"]
auth_method = sys.argv[1]

meta = requests.get(f"{issuer}/.well-known/openid-configuration").json()
assert meta["issuer"] == issuer
app = OAuth2Session(client_id, client_secret, scope="openid profile groups offline_access", redirect_uri=redirect,
                    token_endpoint_auth_method=auth_method, code_challenge_method="S256")
verifier, nonce = generate_token(48), generate_token(20)
url, state = app.create_authorization_url(meta["authorization_endpoint"], code_verifier=verifier, nonce=nonce)

browser = requests.Session()


def field(page, name):
    return html.unescape(re.search(f'name="{name}" value="([^"]*)"', page.text).group(1))


page = browser.get(url, allow_redirects=False)
assert page.status_code == 303, page.text
page = browser.get(urljoin(issuer, page.headers["location"]))
page = browser.post(f"{issuer}/signin", data={"csrf": field(page, "csrf"), "next": field(page, "next"),
                                              "user": "ada", "password": os.environ["PASSWORD"]})
assert page.status_code == 200 and page.headers["refresh"].startswith("0; url=/oidc/authorize?"), page.text
page = browser.get(urljoin(issuer, page.headers["refresh"].split("url=", 1)[1]))
answer = {"csrf": field(page, "csrf"), "request": field(page, "request"), "answer": "allow"}
back = browser.post(f"{issuer}/oidc/authorize", data=answer, allow_redirects=False).headers["location"]
assert back.startswith(redirect + "?code="), back

token = app.fetch_token(meta["token_endpoint"], authorization_response=back, state=state, code_verifier=verifier)


def verified(id_token, nonce):
    keys = KeySet.import_key_set(requests.get(meta["jwks_uri"]).json())
    decoded = jwt.decode(id_token, keys, algorithms=meta["id_token_signing_alg_values_supported"])
    options = {"iss": {"values": [issuer]}, "aud": {"values": [client_id]}}
    params = {"client_id": client_id, "access_token": token["access_token"]}
    if nonce:
        params["nonce"] = nonce
    claims = CodeIDToken(decoded.claims, decoded.header, options, params)
    claims.validate()
    return claims


claims = verified(token["id_token"], nonce)
person = app.get(meta["userinfo_endpoint"]).json()
assert person["sub"] == claims["sub"] and person["sub"].startswith("usr_"), person
assert (person["preferred_username"], person["name"], person["groups"]) == ("ada", "Ada L.", ["viewer"]), person

old = token
token = app.refresh_token(meta["token_endpoint"])
assert token["refresh_token"] != old["refresh_token"]
assert verified(token["id_token"], None)["sub"] == claims["sub"]
assert app.get(meta["userinfo_endpoint"]).json() == person

out = browser.get(meta["end_session_endpoint"], allow_redirects=False, params={
    "id_token_hint": token["id_token"], "post_logout_redirect_uri": os.environ["AFTER"], "state": "bye"})
assert out.headers["location"] == os.environ["AFTER"] + "?state=bye", out.text
assert app.get(meta["userinfo_endpoint"]).status_code == 401
try:
    app.refresh_token(meta["token_endpoint"])
    raise AssertionError("the refresh token outlives the session")
except OAuthError as refused:
    assert refused.error == "invalid_grant", refused
print("walked")
