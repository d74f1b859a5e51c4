//! Reading a template's text.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{
    Level, MAX_LEVELS, MAX_TEMPLATE, MAX_TEXT, MAX_VARIABLES, Namespace, NamespaceError,
    SERVERS_OWN, Variable, is_name, is_plain, quote,
};

impl Namespace {
    /// Reads a namespace's name and template.
    pub fn parse(name: &str, template: &str) -> Result<Self, NamespaceError> {
        if !is_name(name) {
            return Err(NamespaceError::Name(quote(name)));
        }
        let too_long = || NamespaceError::Size(name.to_string());
        if template.is_empty() || template.len() > MAX_TEMPLATE {
            return Err(too_long());
        }
        let (closed, open) = match template.strip_suffix("/#") {
            Some(closed) => (closed, true),
            None => (template, false),
        };
        let mut levels = Vec::new();
        let mut variables: Vec<Variable> = Vec::new();
        for (idx, text) in closed.split('/').enumerate() {
            let refuse = |advice| NamespaceError::Level {
                name: name.to_string(),
                level: text.to_string(),
                advice,
            };
            if idx == 0 && text.starts_with('$') && text != SERVERS_OWN {
                return Err(refuse("of topics that start with `$` there is only `$SYS`"));
            }
            let Some(variable) = variable(text).map_err(refuse)? else {
                levels.push(Level::Literal(Box::from(text)));
                continue;
            };
            if variables.contains(&variable) {
                return Err(refuse("each variable can be there once"));
            }
            levels.push(match variable {
                Variable::Text(_) => Level::Text,
                _ => Level::Name,
            });
            variables.push(variable);
        }
        if levels.len() > MAX_LEVELS || variables.len() > MAX_VARIABLES {
            return Err(too_long());
        }
        Ok(Self {
            name: Box::from(name),
            template: Box::from(template),
            levels,
            variables,
            open,
            idx: 0,
        })
    }
}

/// Reads one level: a variable, none for a literal, or what to write instead.
fn variable(level: &str) -> Result<Option<Variable>, &'static str> {
    if let Some(inner) = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match inner {
            "site" => Ok(Some(Variable::Site)),
            "zone" => Ok(Some(Variable::Zone)),
            "kind" => Ok(Some(Variable::Kind)),
            "device" => Ok(Some(Variable::Device)),
            _ => match inner.strip_prefix("text:") {
                Some(name) if is_text_name(name) => Ok(Some(Variable::Text(Box::from(name)))),
                Some(_) => {
                    Err("name a text variable with a letter and then `a-z 0-9 _`, at most 32")
                }
                None => Err("use `{site}`, `{zone}`, `{kind}`, `{device}` or `{text:NAME}`"),
            },
        };
    }
    if level.contains(['{', '}']) {
        return Err("a variable fills its whole level");
    }
    if level.contains(['+', '#']) {
        return Err(
            "use a variable instead of `+`, and `#` only as the last level, after another one",
        );
    }
    if !is_plain(level) || level.len() > MAX_TEXT {
        return Err(
            "a literal is 1 to 128 bytes without control characters, and neither `.` nor `..`",
        );
    }
    Ok(None)
}

fn is_text_name(name: &str) -> bool {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let first = name.bytes().next();
    name.len() <= 32 && name.bytes().all(plain) && first.is_some_and(|b| b.is_ascii_lowercase())
}
