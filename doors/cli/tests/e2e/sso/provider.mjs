// oidc-provider (npm), certified, as somebody would run it: with a page where people say who they are. What it is to do
// stands in the environment; it says "ready" once it listens.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.TOOLS}/`);
const { default: Provider } = await import(require.resolve('oidc-provider'));
const { ISSUER, REDIRECT, CLIENT_SECRET } = process.env;

const provider = new Provider(ISSUER, {
  clients: [{
    client_id: 'freehold', client_secret: CLIENT_SECRET, redirect_uris: [REDIRECT], response_types: ['code'],
    grant_types: ['authorization_code'],
  }],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: `${id}@acme` }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // Whoever signs in agrees: there is one client.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
  cookies: { keys: ['a key of a test'] },
});

const callback = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return callback(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    return response.end(`<!doctype html><title>Acme</title><main><h1>Acme</h1><form method="post">
      <input type="text" name="login"><button name="answer" value="yes">Sign in</button>
      <button name="answer" value="no">Cancel</button></form></main>`);
  }
  const parts = [];
  for await (const part of request) parts.push(part);
  const form = new URLSearchParams(Buffer.concat(parts).toString());
  const result = form.get('answer') === 'no'
    ? { error: 'access_denied', error_description: 'They said no' }
    : { login: { accountId: form.get('login') } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}).listen(new URL(ISSUER).port, '127.0.0.1', () => console.log('ready'));
