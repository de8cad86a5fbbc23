// Contrasts and sizes are those of WCAG 2.2 (1.4.3, 1.4.11, 2.4.7) and of Apple's Human Interface Guidelines (44 points to touch).

function channels(color) {
  const parts = color.match(/[\d.]+/g).map(Number);
  return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
}

function over(above, below) {
  return above.rgb.map((c, i) => c * above.alpha + below[i] * (1 - above.alpha));
}

// ground is the colour behind an element, its own included.
function ground(element) {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const c = channels(getComputedStyle(e).backgroundColor);
    layers.push(c);
    if (c.alpha === 1) break;
  }
  return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255]);
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a, b) {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

function shown(element) {
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return style.visibility === "visible" && style.display !== "none" && box.width > 0 && box.height > 0;
}

function named(element) {
  return element.tagName.toLowerCase() + (element.id ? "#" + element.id : "") + (element.className ? "." + element.className : "");
}

// A phone shows a page that is too wide smaller, so innerWidth is no measure.
function screenWidth() {
  return document.documentElement.clientWidth;
}

function textFaults() {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || !shown(e)) continue;
    const style = getComputedStyle(e);
    const behind = ground(e);
    const ratio = contrast(over(channels(style.color), behind), behind);
    if (ratio < 4.5) found.push(`the text of ${named(e)} has the contrast ${ratio.toFixed(2)}`);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.right > screenWidth() + 1 || box.left < -1) found.push(`the text of ${named(e)} runs out of the screen`);
    }
    if (parseFloat(style.fontSize) < 12) found.push(`the text of ${named(e)} is ${style.fontSize}`);
  }
  return found;
}

function controlFaults() {
  const found = [];
  for (const e of document.querySelectorAll("input, button, a, select, textarea")) {
    if (!shown(e)) continue;
    const style = getComputedStyle(e);
    const box = e.getBoundingClientRect();
    if (box.height < 44) found.push(`${named(e)} is ${box.height.toFixed(1)} high`);
    if (e.tagName !== "INPUT") continue;
    if (e.labels.length === 0) found.push(`${named(e)} has no label`);
    if (parseFloat(style.fontSize) < 16) found.push(`${named(e)} makes an iPhone zoom: its text is ${style.fontSize}`);
    const edge = contrast(over(channels(style.borderTopColor), ground(e.parentElement)), ground(e.parentElement));
    if (edge < 3) found.push(`the edge of ${named(e)} has the contrast ${edge.toFixed(2)}`);
    const typed = contrast(over(channels(style.color), ground(e)), ground(e));
    if (typed < 4.5) found.push(`what is typed into ${named(e)} has the contrast ${typed.toFixed(2)}`);
  }
  return found;
}

function documentFaults() {
  const found = [];
  const width = document.scrollingElement.scrollWidth;
  if (width > screenWidth()) found.push(`the page is ${width} wide on a screen of ${screenWidth()}`);
  if (!document.documentElement.lang) found.push("the page doesn't say its language");
  if (document.querySelectorAll("h1").length !== 1) found.push("the page has not one heading");
  const viewport = document.querySelector("meta[name=viewport]");
  if (!viewport || /user-scalable|maximum-scale/.test(viewport.content)) found.push("the page can't be enlarged");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) found.push("two elements have one id");
  for (const e of document.querySelectorAll("[aria-describedby]")) {
    for (const id of e.getAttribute("aria-describedby").split(" ")) {
      if (!document.getElementById(id)) found.push(`${named(e)} is described by ${id}, which isn't there`);
    }
  }
  return found;
}

function faults() {
  return [...documentFaults(), ...textFaults(), ...controlFaults()];
}

function focusFaults() {
  const e = document.activeElement;
  if (!e || e === document.body) return ["nothing has the focus"];
  const style = getComputedStyle(e);
  const found = [];
  if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) {
    found.push(`the focus on ${named(e)} doesn't show: its outline is ${style.outlineStyle} ${style.outlineWidth}`);
  }
  const behind = ground(e.parentElement);
  const ratio = contrast(over(channels(style.outlineColor), behind), behind);
  if (ratio < 3) found.push(`the focus on ${named(e)} has the contrast ${ratio.toFixed(2)}`);
  const box = e.getBoundingClientRect();
  if (box.bottom < 0 || box.top > innerHeight) found.push(`the focus is on ${named(e)}, out of sight`);
  return found;
}
