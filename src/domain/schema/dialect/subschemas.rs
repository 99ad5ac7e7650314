//! Keywords whose values hold schemas by name or in a list.

use serde_json::{Map, Value};

use super::{Place, Walk};

impl Walk<'_> {
    pub(super) fn members(&mut self, value: Value, place: &Place) -> Option<Map<String, Value>> {
        match value {
            Value::Object(members) => Some(members),
            other => {
                self.not_a(place, &other, "an object of schemas");
                None
            }
        }
    }

    pub(super) fn schemas(&mut self, value: Value, place: &Place) -> Option<Value> {
        let members = self.members(value, place)?;
        // What is not a schema allows any value, so that the name is still known.
        let made = members.into_iter().map(|(name, value)| {
            let made = self.schema(value, &place.child(&name)).unwrap_or(Value::Bool(true));
            (name, made)
        });
        Some(Value::Object(made.collect()))
    }

    /// Rewrites `properties`. `required: true` in a property makes it required, as in draft-03.
    pub(super) fn properties(&mut self, value: Value, place: &Place, required: &mut Vec<String>) -> Option<Value> {
        let mut members = self.members(value, place)?;
        for (name, value) in &mut members {
            let own = value.as_object_mut().filter(|fields| fields.get("required").is_some_and(Value::is_boolean));
            if let Some(Value::Bool(true)) = own.and_then(|fields| fields.remove("required")) {
                self.read_as(&place.child(name).child("required"), &Value::Bool(true), "a required member");
                required.push(name.clone());
            }
        }
        self.schemas(Value::Object(members), place)
    }

    /// Rewrites `patternProperties`, and returns whether every pattern can be used.
    pub(super) fn pattern_properties(&mut self, value: Value, place: &Place) -> (Option<Value>, bool) {
        let Some(members) = self.members(value, place) else { return (None, false) };
        let (mut out, mut complete) = (Map::new(), true);
        for (name, value) in members {
            let here = place.child(&name);
            match self.pattern(&name, &here) {
                Some(own) => out.extend(self.schema(value, &here).map(|made| (own, made))),
                None => complete = false,
            }
        }
        (Some(Value::Object(out)), complete)
    }

    /// Splits `dependencies` (drafts 03 to 07) into the two keywords that replaced it.
    pub(super) fn dependencies(&mut self, value: Value, place: &Place, out: &mut Map<String, Value>) {
        for (name, value) in self.members(value, place).into_iter().flatten() {
            let here = place.child(&name);
            let (keyword, made) = match value {
                Value::Array(_) => ("dependentRequired", self.names(value, &here)),
                Value::String(_) => ("dependentRequired", Some(Value::Array(vec![value]))),
                other => ("dependentSchemas", self.schema(other, &here)),
            };
            if let (Some(made), Value::Object(members)) = (made, out.entry(keyword).or_insert_with(|| Value::Object(Map::new()))) {
                members.entry(name).or_insert(made);
            }
        }
    }

    pub(super) fn dependent_names(&mut self, value: Value, place: &Place) -> Option<Value> {
        let members = self.members(value, place)?;
        let made = members.into_iter().filter_map(|(name, value)| {
            let made = self.names(value, &place.child(&name))?;
            Some((name, made))
        });
        Some(Value::Object(made.collect()))
    }

    /// Rewrites a list of subschemas. An empty `anyOf` would refuse every value.
    pub(super) fn schema_list(&mut self, value: Value, place: &Place) -> Option<Value> {
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            one @ Value::Object(_) => vec![one],
            other => {
                self.not_a(place, &other, "a list of schemas");
                return None;
            }
        };
        // A place holder preserves the positions that references use.
        let made =
            list.into_iter().enumerate().map(|(at, value)| self.schema(value, &place.child(&at.to_string())).unwrap_or(Value::Bool(true)));
        Some(Value::Array(made.collect()))
    }
}
