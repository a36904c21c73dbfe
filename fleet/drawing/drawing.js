"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const drawing = find("drawing");
  const nodes = [...drawing.querySelectorAll(".node")];
  const arrows = [...drawing.querySelectorAll(".arrow")];
  const sections = [...document.querySelectorAll(".about")];
  let chosen = null;

  const after = (node) => arrows.filter((a) => a.dataset.from === node.id).map((a) => find(a.dataset.to));
  const before = (node) => arrows.filter((a) => a.dataset.to === node.id).map((a) => find(a.dataset.from));

  function light(node) {
    drawing.classList.toggle("lit", node !== null);
    const near = node ? new Set([node, ...after(node), ...before(node)]) : new Set();
    nodes.forEach((each) => each.classList.toggle("near", near.has(each)));
    arrows.forEach((each) => {
      const touches = node && (each.dataset.from === node.id || each.dataset.to === node.id);
      each.classList.toggle("near", Boolean(touches));
    });
  }

  function choose(node) {
    chosen = node;
    nodes.forEach((each) => {
      each.classList.toggle("chosen", each === node);
      if (each === node) each.setAttribute("aria-current", "true");
      else each.removeAttribute("aria-current");
    });
    const shown = node ? "about-" + node.id : "about-all";
    sections.forEach((each) => each.classList.toggle("chosen", each.id === shown));
    light(node);
  }

  function go(node) {
    if (!node) return;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest", inline: "nearest" });
    light(node);
  }

  function beside(node, by) {
    const row = nodes.filter((each) => each.dataset.row === node.dataset.row);
    return row[row.indexOf(node) + by];
  }

  const keys = {
    ArrowDown: (node) => after(node)[0],
    ArrowUp: (node) => before(node)[0],
    ArrowLeft: (node) => beside(node, -1),
    ArrowRight: (node) => beside(node, 1),
    Home: () => nodes[0],
    End: () => nodes[nodes.length - 1],
  };

  nodes.forEach((node) => {
    node.addEventListener("mouseenter", () => light(node));
    node.addEventListener("mouseleave", () => light(chosen));
    node.addEventListener("focus", () => node.matches(":focus-visible") && light(node));
    node.addEventListener("blur", () => light(chosen));
    node.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      go(keys[event.key](node));
    });
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (link) {
      event.preventDefault();
      const node = nodes.find((each) => each.getAttribute("href") === link.getAttribute("href"));
      choose(node);
      if (link !== node) go(node);
    } else if (event.target.closest("main")) {
      choose(null);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") choose(null);
  });

  const size = drawing.viewBox.baseVal;
  let scale = 1;
  function zoom(to) {
    scale = Math.min(4, Math.max(0.1, to));
    drawing.setAttribute("width", size.width * scale);
    drawing.setAttribute("height", size.height * scale);
    document.querySelector("[data-zoom=reset]").textContent = Math.round(scale * 100) + "%";
  }
  const room = () => {
    const main = drawing.parentElement;
    return Math.min((main.clientWidth - 32) / size.width, (main.clientHeight - 32) / size.height);
  };
  const zooms = {
    in: () => zoom(scale * 1.25),
    out: () => zoom(scale / 1.25),
    reset: () => zoom(1),
    fit: () => zoom(room()),
  };
  document.querySelectorAll("[data-zoom]").forEach((button) => {
    button.addEventListener("click", zooms[button.dataset.zoom]);
  });
  document.querySelector(".zoom").hidden = false;
  document.documentElement.classList.add("scripted");
  choose(nodes.find((node) => node.getAttribute("href") === location.hash) || null);
  (chosen || nodes[0]).scrollIntoView({ block: "nearest", inline: "center" });
})();
