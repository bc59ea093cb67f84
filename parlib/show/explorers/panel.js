/* Sliders and their readouts have no name for screen readers: give them their label's, also those that come later. */
const box = this.closest('.par');
const name = () => box.querySelectorAll('[role=slider], .widget-readout').forEach(e => {
  e.role ??= 'textbox';
  e.ariaLabel = e.closest('.widget-slider').querySelector('label').textContent;
});
// The icons of the map's buttons: what a button does says its title.
const hide = () => box.querySelectorAll('.map svg').forEach(e => e.ariaHidden = 'true');
// A key presses the button whose title names it, such as "Keep (k)", wherever nobody types.
box.addEventListener('keydown', e => e.target.matches('input, select, textarea') || e.ctrlKey || e.metaKey || e.altKey
  || box.querySelector(`button[title$="(${CSS.escape(e.key)})"]`)?.click());
new MutationObserver(hide).observe(box, {childList: true, subtree: true});
new MutationObserver(name).observe(box, {childList: true, subtree: true});
name();
