//! Queries about many rows: one text for a fixed number of them, filled up by repeating the last.
//!
//! A statement costs more than a row, so what is done to a thousand rows is done to some at a time. Both databases take this, and neither has to be told of a list's length.

use std::fmt::Write as _;

use super::Value;

/// How many rows one query is about.
const MANY: usize = 32;

/// Writes the places of as many values, beginning with this one: `$3, $4, …`.
pub(crate) fn places_from(first: usize) -> String {
    let mut text = format!("${first}");
    for place in first + 1..first + MANY {
        let _ = write!(text, ", ${place}");
    }
    text
}

/// Gives the values for each query that it takes to reach all rows.
pub(crate) fn runs<T: Copy + Into<Value>>(keys: &[T]) -> Vec<Vec<Value>> {
    let mut keys = keys.iter().copied();
    let mut runs = Vec::new();
    while let Some(first) = keys.next() {
        let (mut last, mut run) = (first, vec![first.into()]);
        while run.len() < MANY {
            last = keys.next().unwrap_or(last);
            run.push(last.into());
        }
        runs.push(run);
    }
    runs
}

/// Puts a run's values after others.
pub(crate) fn after(mut first: Vec<Value>, run: &[Value]) -> Vec<Value> {
    first.extend_from_slice(run);
    first
}

#[cfg(test)]
mod tests {
    use identity::DeviceId;

    use super::*;

    #[test]
    fn a_run_is_filled_up_with_its_last_row() {
        let name = |idx: usize| format!("p-{idx:03}");
        let ids: Vec<DeviceId> = (0..=MANY).map(|idx| name(idx).parse().unwrap()).collect();
        let ids: Vec<_> = ids.iter().collect();
        let names = |run: &[Value]| -> Vec<String> {
            let text = |value: &Value| match value {
                Value::Text(Some(text)) => text.clone(),
                _ => panic!("{value:?}"),
            };
            run.iter().map(text).collect()
        };
        let runs = runs(&ids);
        assert_eq!(names(&runs[0]), (0..MANY).map(name).collect::<Vec<_>>());
        assert_eq!(names(&runs[1]), vec![name(MANY); MANY]);
        assert_eq!(runs.len(), 2);
        assert!(super::runs::<i64>(&[]).is_empty());
    }

    #[test]
    fn places_are_as_many_as_values() {
        let text = places_from(3);
        assert!(text.starts_with("$3, $4, ") && text.ends_with(&format!(", ${}", MANY + 2)));
        assert_eq!(text.split(", ").count(), MANY);
    }
}
