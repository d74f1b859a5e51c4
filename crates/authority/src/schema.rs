//! The schema that policies are checked against, made for the declared namespaces.

use std::collections::BTreeSet;

use cedar_policy::Schema;
use policy::Namespaces;
use policy::namespace::Variable;

/// What policies speak of, in Cedar's schema language; the text variables come from the namespaces.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// Makes the schema for namespaces: each of their text variables becomes an optional attribute.
pub(crate) fn schema(namespaces: &Namespaces) -> Result<Schema, String> {
    let variables = namespaces.iter().flat_map(|namespace| namespace.variables());
    let names: BTreeSet<&str> = variables
        .filter_map(|variable| match variable {
            Variable::Text(name) => Some(&**name),
            Variable::Site | Variable::Zone | Variable::Kind | Variable::Device => None,
        })
        .collect();
    let attributes: String = names.iter().map(|name| format!("\"{name}\"?: String, ")).collect();
    let text = SCHEMA.replace("text: {}", &format!("text: {{ {attributes}}}"));
    Schema::from_cedarschema_str(&text).map(|(schema, _)| schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_one_and_takes_text_variables() {
        assert!(schema(&Namespaces::default()).is_ok());
        let namespaces =
            Namespaces::parse([("a", "{text:line}/x"), ("b", "{text:line}/{text:in}/y")]).unwrap();
        assert!(schema(&namespaces).is_ok());
    }
}
