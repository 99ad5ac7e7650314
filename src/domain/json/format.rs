//! Formatting of JSON text. Tokens stay as written: numbers keep their digits, strings their escapes.

use super::{
    SyntaxError,
    token::{Kind, Token, Tokens, tokens},
    value::Json,
};

/// Deepest indentation of [`indent`], so that deeply nested input cannot inflate the output.
const DEEPEST: usize = 60;

/// Longest array that [`pretty`] keeps on one line, in bytes.
const ONE_LINE: usize = 60;

/// Returns the JSON in one line, without white space outside of strings. Does not check the text.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    tokens(text).for_each(|token| out.push_str(token.text));
    out
}

/// Returns the JSON with each value on its own line, indented by two spaces per level. Does not check the text.
pub fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut opened) = (0usize, false);
    for token in tokens(text) {
        match token.kind {
            Kind::Close => {
                depth = depth.saturating_sub(1);
                if !std::mem::take(&mut opened) {
                    line(&mut out, depth.min(DEEPEST));
                }
                out.push_str(token.text);
            }
            Kind::Comma => {
                out.push(',');
                line(&mut out, depth.min(DEEPEST));
            }
            Kind::Colon => out.push_str(": "),
            Kind::Open | Kind::String | Kind::Scalar => {
                let open = token.kind == Kind::Open;
                if std::mem::replace(&mut opened, open) {
                    line(&mut out, depth.min(DEEPEST));
                }
                out.push_str(token.text);
                depth += usize::from(open);
            }
        }
    }
    out
}

/// Formats JSON text over several lines, two spaces per level. Short arrays of scalars stay on one line.
pub fn pretty(text: &str) -> Result<String, SyntaxError> {
    Json::parse(text)?;
    let (mut out, mut depth) = (String::with_capacity(text.len() * 2), 0usize);
    let mut tokens = tokens(text);
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Open => match one_line(token, tokens.clone()) {
                Some((short, rest)) => {
                    out.push_str(&short);
                    tokens = rest;
                }
                None => {
                    out.push_str(token.text);
                    depth += 1;
                    line(&mut out, depth);
                }
            },
            Kind::Close => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push_str(token.text);
            }
            Kind::Comma => {
                out.push(',');
                line(&mut out, depth);
            }
            Kind::Colon => out.push_str(": "),
            Kind::String | Kind::Scalar => out.push_str(token.text),
        }
    }
    Ok(out)
}

/// Returns an empty container, or an array of scalars of at most [`ONE_LINE`] bytes, as one line, with the tokens after it.
fn one_line<'a>(open: Token<'a>, mut rest: Tokens<'a>) -> Option<(String, Tokens<'a>)> {
    let mut out = open.text.to_owned();
    loop {
        let token = rest.next()?;
        match token.kind {
            Kind::Open => return None,
            Kind::Comma => out.push_str(", "),
            Kind::Close | Kind::Colon | Kind::String | Kind::Scalar => out.push_str(token.text),
        }
        if out.len() > ONE_LINE {
            return None;
        }
        if token.kind == Kind::Close {
            return (open.text == "[" || out == "{}").then_some((out, rest));
        }
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ODD: &str = "{ \"a\" : [1.0, 1e5, 12345678901234567890123, {} ,[ ]], \"b\\\" ,\" : \"x\\\\\" }";

    #[test]
    fn tokens_stay_as_written() {
        assert_eq!(compact(ODD), r#"{"a":[1.0,1e5,12345678901234567890123,{},[]],"b\" ,":"x\\"}"#);
        assert_eq!(
            indent(ODD),
            "{\n  \"a\": [\n    1.0,\n    1e5,\n    12345678901234567890123,\n    {},\n    []\n  ],\n  \"b\\\" ,\": \"x\\\\\"\n}"
        );
        assert_eq!(indent("[[[1]],\"a\"]"), "[\n  [\n    [\n      1\n    ]\n  ],\n  \"a\"\n]");
    }

    #[test]
    fn pretty_keeps_tokens() {
        let text = r#"{"a":[1.0, 2],"b":{"c":"x,\"{y}"},"d":{},"e":[{"f":1}]}"#;
        insta::assert_snapshot!(pretty(text).unwrap(), @r#"
        {
          "a": [1.0, 2],
          "b": {
            "c": "x,\"{y}"
          },
          "d": {},
          "e": [
            {
              "f": 1
            }
          ]
        }
        "#);
    }

    proptest! {
        #[test]
        fn form_never_changes_meaning(keys in proptest::collection::vec(".*", 0..5), n in any::<i64>()) {
            let value = serde_json::json!({"k": keys, "n": n, "o": {"e": {}, "l": [[], [n]]}});
            for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                for out in [compact(&text), indent(&text), pretty(&text).unwrap(), compact(&indent(&text))] {
                    prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&out).unwrap(), &value);
                }
            }
        }
    }
}
