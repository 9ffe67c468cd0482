"""A page for the browser that runs a small recurrent model, and shows its gates and states while one types.

`exported.py` writes a model and its tokenizer as JSON; `page.py` puts it into one file with the template: `page.html`,
`style.css`, and three pieces of JavaScript, `tokens.js` (a text -> ids), `network.js` (ids -> gates, states, answers,
by the equations) and `view.js` (what is drawn).
"""
