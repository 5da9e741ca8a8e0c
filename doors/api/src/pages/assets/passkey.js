// Asks the browser for a passkey and puts its answer into the form that asked for it. Without this script the form is not
// seen, and everything else on the page works as before.
'use strict';
const bytes = text => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), it => it.charCodeAt(0));
const text = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

// As the server wrote them, with bytes where the browser wants bytes.
const decoded = options => {
  const ids = list => (list ?? []).map(it => ({ ...it, id: bytes(it.id) }));
  const made = { ...options, challenge: bytes(options.challenge) };
  if (options.user) {
    made.user = { ...options.user, id: bytes(options.user.id) };
    made.excludeCredentials = ids(options.excludeCredentials);
  } else {
    made.allowCredentials = ids(options.allowCredentials);
  }
  return made;
};

const encoded = credential => {
  const said = credential.response;
  const response = { clientDataJSON: text(said.clientDataJSON) };
  if (said.attestationObject) {
    response.attestationObject = text(said.attestationObject);
    response.transports = said.getTransports ? said.getTransports() : [];
  } else {
    response.authenticatorData = text(said.authenticatorData);
    response.signature = text(said.signature);
    response.userHandle = said.userHandle && text(said.userHandle);
  }
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response, clientExtensionResults: {} };
};

const words = error => ({
  NotAllowedError: 'No passkey was given, or it took too long.',
  InvalidStateError: 'This device has a passkey of yours for this server already.',
  SecurityError: 'The browser gives no passkeys to this address.',
}[error.name] ?? error.message);

const ask = async form => {
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.dataset.ask, { method: 'POST', body, redirect: 'manual' });
  if (answer.type === 'opaqueredirect') {
    return location.reload();
  }
  const said = await answer.json().catch(() => ({ title: 'The server did not answer as expected. Load the page again.' }));
  if (!said.publicKey) {
    throw new Error([said.title, said.hint].filter(Boolean).join(' ').replaceAll('`', ''));
  }
  const publicKey = decoded(said.publicKey);
  const credential = await (publicKey.user ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
  form.elements.ticket.value = said.ticket;
  form.elements.credential.value = JSON.stringify(encoded(credential));
  form.submit();
};

for (const form of document.querySelectorAll('form.passkey')) {
  const here = form.dataset.host === location.host;
  const can = Boolean(window.PublicKeyCredential);
  const rest = name => [...form.parentElement.children].filter(it => it.classList.contains(name));
  form.hidden = !here || !can;
  rest('elsewhere').forEach(it => { it.hidden = here; });
  rest('without').forEach(it => { it.hidden = !here || can; });
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const [alert, button] = [form.querySelector('.alert'), form.querySelector('button')];
    alert.hidden = true;
    button.disabled = true;
    try {
      await ask(form);
    } catch (error) {
      alert.textContent = words(error);
      alert.hidden = false;
    }
    button.disabled = false;
  });
}
