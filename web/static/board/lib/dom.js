// Builds all elements. Text is always inserted as text, never as markup.

/** An element. Functions in `attributes` become listeners; false omits an attribute. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** A labelled input. */
export function field(label, attributes) {
  return h("label", {}, label, h("input", attributes));
}

/** Announce a new text to screen readers, politely. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer.textContent !== text) announcer.textContent = text;
}

/** Show a problem at the top of the page; an empty text hides it. */
export function showNotice(text) {
  const box = document.getElementById("notice");
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !text;
}

/** A form that shows the error's message when `submit(values)` fails. */
export function form(label, fields, button, submit) {
  const problem = h("p", { class: "problem", role: "alert" });
  const send = h("button", { type: "submit" }, button);
  const handle = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    send.disabled = true;
    try {
      await submit(Object.fromEntries(new FormData(event.target)));
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  };
  return h("form", { "aria-label": label, submit: handle }, ...fields, problem, send);
}
