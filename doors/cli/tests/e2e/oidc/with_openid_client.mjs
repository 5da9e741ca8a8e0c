// Signs ada in to an app with openid-client, as the app and as her browser, and out again.
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'

const { OIDC_ISSUER: issuer, OIDC_CLIENT_ID: id, OIDC_CLIENT_SECRET: secret, REDIRECT, AFTER, PASSWORD, TOOLS } = process.env
const oidc = await import(pathToFileURL(`${TOOLS}/node/node_modules/openid-client/build/index.js`))
// The house of the test is on 127.0.0.1.
const config = await oidc.discovery(new URL(issuer), id, secret, undefined, { execute: [oidc.allowInsecureRequests] })

const cookies = new Map()
async function browse(url, form) {
  const headers = { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') }
  const body = form && new URLSearchParams(form)
  const page = await fetch(new URL(url, issuer), { method: form ? 'POST' : 'GET', headers, body, redirect: 'manual' })
  for (const set of page.headers.getSetCookie()) {
    const [name, value] = set.split(';')[0].split('=')
    set.includes('Max-Age=0') ? cookies.delete(name) : cookies.set(name, value)
  }
  const text = await page.text()
  const field = (name) => text.match(`name="${name}" value="([^"]*)"`)[1].replaceAll('&amp;', '&')
  return { status: page.status, location: page.headers.get('location'), refresh: page.headers.get('refresh'), text, field }
}

const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
const [expectedState, expectedNonce] = [oidc.randomState(), oidc.randomNonce()]
const url = oidc.buildAuthorizationUrl(config, {
  redirect_uri: REDIRECT,
  scope: 'openid profile groups offline_access',
  code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: expectedState,
  nonce: expectedNonce,
})
let page = await browse(url)
assert.equal(page.status, 303)
page = await browse(page.location)
page = await browse('/signin', { csrf: page.field('csrf'), next: page.field('next'), user: 'ada', password: PASSWORD })
page = await browse(page.refresh.split('url=')[1])
page = await browse('/oidc/authorize', { csrf: page.field('csrf'), request: page.field('request'), answer: 'allow' })

const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
const tokens = await oidc.authorizationCodeGrant(config, new URL(page.location), checks)
const { sub, auth_time } = tokens.claims()
assert.ok(auth_time > 0)
const person = await oidc.fetchUserInfo(config, tokens.access_token, sub)
assert.deepEqual([person.preferred_username, person.name, person.groups], ['ada', 'Ada L.', ['viewer']])

const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token)
assert.equal(renewed.claims().sub, sub)
const refused = (error) => error.error === 'invalid_grant'
await assert.rejects(oidc.refreshTokenGrant(config, tokens.refresh_token), refused, 'an old refresh token is taken')
await assert.rejects(oidc.refreshTokenGrant(config, renewed.refresh_token), refused, 'what came of it goes on')

const out = oidc.buildEndSessionUrl(config, { post_logout_redirect_uri: AFTER, id_token_hint: renewed.id_token })
assert.equal((await browse(out)).location, AFTER)
assert.equal((await browse(url)).status, 303)
console.log('walked')
