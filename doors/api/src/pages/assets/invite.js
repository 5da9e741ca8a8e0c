// Moves the invite from the address into the form, so that it stays neither in sight nor in the history.
'use strict';
const field = document.getElementById('invite');
const given = location.hash.slice(1);
if (given) {
  field.value = given;
  history.replaceState(null, '', location.pathname);
}
document.getElementById('pasted').hidden = field.value !== '';
