/* Sliders and their readouts have no name for screen readers: give them their label's, also those that come later. */
const box = this.closest('.par');
const name = () => box.querySelectorAll('[role=slider], .widget-readout').forEach(e => {
  e.role ??= 'textbox';
  e.ariaLabel = e.closest('.widget-slider').querySelector('label').textContent;
});
new MutationObserver(name).observe(box, {childList: true, subtree: true});
name();
