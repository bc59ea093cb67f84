/* Sliders and their readouts have no name for screen readers: give them their label's, also those that come later. */
const box = this.closest('.par');
const name = () => box.querySelectorAll('[role=slider], .widget-readout').forEach(e => {
  e.role ??= 'textbox';
  e.ariaLabel = e.closest('.widget-slider').querySelector('label').textContent;
});
// The icons of the map's buttons: what a button does says its title.
const hide = () => box.querySelectorAll('.map svg').forEach(e => e.ariaHidden = 'true');
// A key presses the button whose title ends with it, such as "Keep (k)", wherever nobody types or moves a slider.
const arrows = {ArrowLeft: '←', ArrowRight: '→'};
box.addEventListener('keydown', e => e.target.matches('input, select, textarea, [role=slider], [contenteditable]') || e.ctrlKey || e.metaKey
  || e.altKey || box.querySelector(`button[title$="(${CSS.escape(arrows[e.key] ?? e.key)})"]`)?.click());
// What opens something elsewhere writes its name into a hidden box that Python reads. Drawn anew, it has the focus again.
let pressed;
const ask = words => {
  const hidden = box.querySelector('.opened input');
  hidden.value = words;
  hidden.dispatchEvent(new Event('change', {bubbles: true}));
};
box.addEventListener('click', e => {
  pressed = e.target.closest('[data-open]')?.dataset.open;
  if (pressed) ask(pressed);
});
// The first explorer of a page asks for the others, once its picture is there.
const rest = () => box.matches('.first') && box.querySelector('.opened input') && box.querySelector('figure img')
  && (box.classList.remove('first'), requestAnimationFrame(() => setTimeout(() => ask('others'), 50)));
const again = () => pressed && document.activeElement === document.body
  && box.querySelector(`[data-open="${CSS.escape(pressed)}"]`)?.focus();
// Without a font for Chinese all its letters are the same empty box.
const drawn = letter => {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.fillText(letter, 0, 20);
  return canvas.canvas.toDataURL();
};
box.classList.toggle('no-chinese', drawn('女') === drawn('色'));
for (const act of [hide, name, again, rest]) new MutationObserver(act).observe(box, {childList: true, subtree: true});
name();
rest();
