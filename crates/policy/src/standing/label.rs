//! Labels: what people tag a device with.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Labels of a device, by name; each name is there once.
// Invariant: sorted by name, no name twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Finds a label's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let idx = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.0.get(idx).map(|(_, value)| &**value)
    }

    /// Goes over names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Labels {
    /// Collects labels; of those with one name the last stays.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(labels: I) -> Self {
        let by_name: BTreeMap<Box<str>, Box<str>> =
            labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self(by_name.into_iter().collect())
    }
}

impl<C> Encode<C> for Labels {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.map(self.0.len() as u64)?;
        for (name, value) in &self.0 {
            e.str(name)?.str(value)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Labels {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let at = d.position();
        let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
        for label in d.map_iter_with::<C, String, String>(ctx)? {
            let (name, value) = label?;
            if labels.last().is_some_and(|(last, _)| **last >= *name) {
                return Err(decode::Error::message("labels are not sorted by name").at(at));
            }
            labels.push((name.into(), value.into()));
        }
        Ok(Self(labels.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_by_name_and_the_last_of_a_name_stays() {
        let labels: Labels = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(
            (labels.get("a"), labels.get("b"), labels.get("c")),
            (Some("2"), Some("3"), None)
        );
        assert_eq!(
            minicbor::decode::<Labels>(&minicbor::to_vec(&labels).unwrap()).unwrap(),
            labels
        );
    }

    #[test]
    fn a_name_that_comes_twice_does_not_decode() {
        let twice = [0xa2, 0x61, b'a', 0x61, b'1', 0x61, b'a', 0x61, b'2'];
        assert!(minicbor::decode::<Labels>(&twice).is_err());
    }
}
