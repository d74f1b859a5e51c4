//! Namespaces: declared shapes of topics whose parts bind to attributes.
//!
//! A template is levels joined by `/`. A level is a literal, one of `{site}`, `{zone}`, `{kind}`
//! and `{device}` (whose values are names), `{text:NAME}` (any plain text), or, as the last one,
//! `#` for any levels that follow, also none. A variable fills its whole level.
//!
//! A level that is empty, `.`, `..`, or holds a control character belongs to no namespace: what
//! stands behind a gateway may read a topic as a path. Neither does a topic that starts with `$`,
//! unless the template's first level is `$SYS`, where the server tells of itself. A filter belongs to a namespace if it has its shape: the same literals, a good value or
//! `+` at each variable, and `#` no sooner than the template's own. So every topic that it
//! matches is of this namespace or of none.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use identity::name::MAX_LEN;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::standing::DeviceStanding;

mod overlap;
mod template;

/// The most namespaces that one policy declares.
pub const MAX_NAMESPACES: usize = 64;
/// The longest template, in bytes.
pub const MAX_TEMPLATE: usize = 256;
/// The most levels of a template.
pub const MAX_LEVELS: usize = 16;
/// The most variables of a template.
pub const MAX_VARIABLES: usize = 8;
/// The first level of the topics in which the server tells of itself.
pub const SERVERS_OWN: &str = "$SYS";
/// The longest value of a text variable, in bytes.
pub const MAX_TEXT: usize = 128;

/// A declared shape of topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: Box<str>,
    template: Box<str>,
    levels: Vec<Level>,
    // Invariant: `{…}` levels in order, at most `MAX_VARIABLES`, none twice.
    variables: Vec<Variable>,
    open: bool,
    idx: usize,
}

/// Namespaces that do not overlap: a topic belongs to one of them or to none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces(Vec<Namespace>);

/// What a template's variable binds to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// `{site}`: the name of a site.
    Site,
    /// `{zone}`: the name of a zone.
    Zone,
    /// `{kind}`: the name of a kind.
    Kind,
    /// `{device}`: the name of a device.
    Device,
    /// `{text:NAME}`: any plain text.
    Text(Box<str>),
}

/// The values that a topic or a filter binds into a namespace's variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    namespace: &'a Namespace,
    values: [Option<&'a str>; MAX_VARIABLES],
}

/// A namespace cannot be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// Its name is not plain.
    #[error(
        "a namespace is named `{}`; use 1 to {MAX_LEN} of `a-z 0-9 - _ .`, a letter or a digit first",
        identity::excerpt(.0)
    )]
    Name(String),
    /// Two have the same name.
    #[error("two namespaces are named `{0}`; give each its own name")]
    SameName(String),
    /// Its template is empty, too long, or has too many levels or variables.
    #[error(
        "the template of `{0}` is empty or too long; use at most {MAX_TEMPLATE} bytes, {MAX_LEVELS} levels and {MAX_VARIABLES} variables"
    )]
    Size(String),
    /// A level of its template is none of those that exist.
    #[error("the template of `{name}` has the level `{}`; {advice}", identity::excerpt(.level))]
    Level {
        /// The namespace.
        name: String,
        /// The level as it was found.
        level: String,
        /// What to write instead.
        advice: &'static str,
    },
    /// Two namespaces take the same topic.
    #[error(
        "`{first}` and `{second}` both take the topic `{example}`; make a literal level differ"
    )]
    Overlap {
        /// The namespace that was declared first.
        first: String,
        /// The other one.
        second: String,
        /// A topic that belongs to both.
        example: String,
    },
    /// There are more than can be.
    #[error("a policy declares {0} namespaces; declare at most {MAX_NAMESPACES}")]
    TooMany(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    /// A name, by one of the closed variables.
    Name,
    Text,
}

impl Namespace {
    /// Lends its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lends its template as it was declared.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Gives its place among the namespaces that it was declared with.
    pub fn idx(&self) -> usize {
        self.idx
    }

    /// Lends its variables, in the order of the template.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Tells whether it is of topics in which the server tells of itself.
    pub fn is_servers_own(&self) -> bool {
        matches!(self.levels.first(), Some(Level::Literal(literal)) if **literal == *SERVERS_OWN)
    }

    /// Binds a topic's levels to the variables, if the topic is of this namespace.
    pub fn bind<'a>(&'a self, topic: &'a str) -> Option<Binding<'a>> {
        self.match_levels(topic, |_| false)
    }

    /// Binds a filter's levels to the variables, leaving those at a wildcard unbound, if the
    /// filter has this namespace's shape.
    pub fn bind_filter<'a>(&'a self, filter: &'a str) -> Option<Binding<'a>> {
        let ends_well = hash_is_last(filter);
        if ends_well {
            self.match_levels(filter, |level| level == "+" || level == "#")
        } else {
            None
        }
    }

    fn match_levels<'a>(
        &'a self,
        text: &'a str,
        wild: impl Fn(&str) -> bool,
    ) -> Option<Binding<'a>> {
        if text.starts_with('$') != self.is_servers_own() {
            return None;
        }
        let mut values = [None; MAX_VARIABLES];
        let mut value_slots = values.iter_mut();
        let mut found = text.split('/');
        // Literals first: they are what tells namespaces apart, and cheap to compare.
        for level in &self.levels {
            let text = found.next()?;
            match level {
                Level::Literal(literal) if text == &**literal => (),
                Level::Literal(_) => return None,
                Level::Name | Level::Text => *value_slots.next()? = Some(text),
            }
        }
        let rest_fits = if self.open {
            found.all(|level| wild(level) || is_plain(level))
        } else {
            found.next().is_none()
        };
        if !rest_fits {
            return None;
        }
        for (variable, value) in self.variables.iter().zip(&mut values) {
            let text = (*value)?;
            // A `#` before the template's own would cover topics of another shape.
            let unbound = text == "+" && wild(text);
            let fits = match variable {
                Variable::Text(_) => text.len() <= MAX_TEXT && is_plain(text),
                Variable::Site | Variable::Zone | Variable::Kind | Variable::Device => {
                    is_name(text)
                }
            };
            if unbound {
                *value = None;
            } else if !fits {
                return None;
            }
        }
        Some(Binding { namespace: self, values })
    }

    /// Writes the template for one device, as a filter: text variables become `+`.
    pub fn fill(&self, device: &DeviceStanding) -> String {
        let mut variables = self.variables.iter();
        let mut levels: Vec<&str> = Vec::new();
        for level in &self.levels {
            levels.push(match level {
                Level::Literal(literal) => literal,
                Level::Name | Level::Text => match variables.next() {
                    Some(Variable::Site) => device.site.as_str(),
                    Some(Variable::Zone) => device.zone.as_str(),
                    Some(Variable::Kind) => device.kind.as_str(),
                    Some(Variable::Device) => device.id.as_str(),
                    Some(Variable::Text(_)) | None => "+",
                },
            });
        }
        if self.open {
            levels.push("#");
        }
        levels.join("/")
    }
}

impl Namespaces {
    /// Reads declared namespaces and refuses those that overlap.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(
        declared: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, NamespaceError> {
        let mut namespaces: Vec<Namespace> = Vec::new();
        for (name, template) in declared {
            let namespace = Namespace::parse(name.as_ref(), template.as_ref())?;
            for earlier in &namespaces {
                if earlier.name == namespace.name {
                    return Err(NamespaceError::SameName(namespace.name.into_string()));
                }
                if let Some(example) = overlap::example(earlier, &namespace) {
                    let (first, second) = (earlier.name.to_string(), namespace.name.to_string());
                    return Err(NamespaceError::Overlap { first, second, example });
                }
            }
            namespaces.push(Namespace { idx: namespaces.len(), ..namespace });
            if namespaces.len() > MAX_NAMESPACES {
                return Err(NamespaceError::TooMany(namespaces.len()));
            }
        }
        Ok(Self(namespaces))
    }

    /// Finds the namespace that a topic belongs to and binds it.
    pub fn resolve<'a>(&'a self, topic: &'a str) -> Option<Binding<'a>> {
        self.0.iter().find_map(|namespace| namespace.bind(topic))
    }

    /// Finds the namespace that a filter belongs to and binds it.
    ///
    /// A filter of one namespace's shape may still match topics of another, where a wildcard
    /// stands at a literal of that one: such a filter belongs to neither.
    pub fn resolve_filter<'a>(&'a self, filter: &'a str) -> Option<Binding<'a>> {
        let binding = self.0.iter().find_map(|namespace| namespace.bind_filter(filter))?;
        let mut others = self.0.iter().filter(|other| other.idx != binding.namespace.idx);
        match others.any(|other| overlap::is_reached(other, filter)) {
            true => None,
            false => Some(binding),
        }
    }

    /// Tells whether a filter that belongs to no namespace reaches into one: it is too wide.
    pub fn is_reached_by(&self, filter: &str) -> bool {
        self.0.iter().any(|namespace| overlap::is_reached(namespace, filter))
    }

    /// Finds a namespace by its name.
    pub fn find(&self, name: &str) -> Option<&Namespace> {
        self.0.iter().find(|namespace| namespace.name() == name)
    }

    /// Lends the namespaces in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }

    /// Counts the namespaces.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether none is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Binding<'a> {
    /// Lends the namespace.
    pub fn namespace(&self) -> &'a Namespace {
        self.namespace
    }

    /// Gives the site's name, if the template has one and it is bound.
    pub fn site(&self) -> Option<&'a str> {
        self.value(|variable| *variable == Variable::Site)
    }

    /// Gives the zone's name, if the template has one and it is bound.
    pub fn zone(&self) -> Option<&'a str> {
        self.value(|variable| *variable == Variable::Zone)
    }

    /// Gives the kind's name, if the template has one and it is bound.
    pub fn kind(&self) -> Option<&'a str> {
        self.value(|variable| *variable == Variable::Kind)
    }

    /// Gives the device's name, if the template has one and it is bound.
    pub fn device(&self) -> Option<&'a str> {
        self.value(|variable| *variable == Variable::Device)
    }

    /// Gives a text variable's value, if the template has one of that name and it is bound.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.value(|variable| matches!(variable, Variable::Text(text) if &**text == name))
    }

    /// Gives the value of each variable, in the order of the template; none where it is unbound.
    pub fn slots(&self) -> impl Iterator<Item = Option<&'a str>> {
        self.values.into_iter().take(self.namespace.variables.len())
    }

    /// Goes over the bound variables and their values.
    pub fn values(&self) -> impl Iterator<Item = (&'a Variable, &'a str)> {
        let variables = self.namespace.variables.iter();
        variables.zip(self.values).filter_map(|(variable, value)| Some((variable, value?)))
    }

    fn value(&self, wanted: impl Fn(&Variable) -> bool) -> Option<&'a str> {
        self.values().find(|(variable, _)| wanted(variable)).map(|(_, value)| value)
    }
}

impl Variable {
    /// Names the variable as a template writes it between the braces, without `text:`.
    pub fn name(&self) -> &str {
        match self {
            Self::Site => "site",
            Self::Zone => "zone",
            Self::Kind => "kind",
            Self::Device => "device",
            Self::Text(name) => name,
        }
    }
}

impl<C> Encode<C> for Namespaces {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let pairs: Vec<(&str, &str)> = self.0.iter().map(|n| (n.name(), n.template())).collect();
        e.encode_with(pairs, ctx)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Namespaces {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for pair in d.array_iter_with(ctx)? {
            pairs.push(pair?);
            if pairs.len() > MAX_NAMESPACES {
                break; // `parse` says that there are too many.
            }
        }
        Self::parse(pairs).map_err(|error| decode::Error::message(alloc::format!("{error}")).at(at))
    }
}

/// Says whether a level is plain: not empty, no path step, no wildcard, no control character.
fn is_plain(level: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '+' | '#' | '/');
    !matches!(level, "" | "." | "..") && !level.contains(odd)
}

/// Says whether a filter has `#` as its whole last level only, or not at all.
fn hash_is_last(filter: &str) -> bool {
    match filter.split_once('#') {
        None => true,
        Some((before, after)) => after.is_empty() && (before.is_empty() || before.ends_with('/')),
    }
}

/// Says whether a level is a name, as the ids of `identity` read it, without making one.
fn is_name(level: &str) -> bool {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    level.len() <= MAX_LEN
        && level.bytes().all(plain)
        && level.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn quote(text: &str) -> String {
    text.escape_debug().take(MAX_LEN).collect()
}

#[cfg(test)]
mod tests;
