//! JSON text with its members in the order in which they are put: Codex's order is what a fast reader
//! recognises a record by, and a map of `serde_json` would sort it.

/// JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Json(pub(crate) Vec<u8>);

/// `null`, where Codex writes it; what is absent is an `Option`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Null;

/// What can stand in JSON.
pub(crate) trait Value {
    fn write(&self, out: &mut Vec<u8>);

    /// Whether a member of this value is left out.
    fn absent(&self) -> bool {
        false
    }
}

/// An object that grows.
pub(crate) struct Object(Vec<u8>);

impl Object {
    pub(crate) fn new() -> Self {
        Self(vec![b'{'])
    }

    pub(crate) fn put(&mut self, key: &str, value: &(impl Value + ?Sized)) {
        if value.absent() {
            return;
        }
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
        value.write(&mut self.0);
    }

    pub(crate) fn end(mut self) -> Json {
        self.0.push(b'}');
        Json(self.0)
    }
}

/// `object! { "key": value, … }`: JSON text of an object.
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "an empty object")]
        let mut object = $crate::json::Object::new();
        $(object.put($key, &$value);)*
        object.end()
    }};
}
pub(crate) use object;

impl Value for Json {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

impl Value for Null {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }
}

impl Value for str {
    #[expect(clippy::expect_used, reason = "text is always JSON, and a Vec takes it")]
    fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("text is JSON");
    }
}

impl Value for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Value for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.to_string().as_bytes());
            }
        }
    )*};
}
numbers!(u64, i64, i32, usize);

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (*self).write(out);
    }

    fn absent(&self) -> bool {
        (*self).absent()
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => Null.write(out),
        }
    }

    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Value> Value for [T] {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (number, value) in self.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            value.write(out);
        }
        out.push(b']');
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_slice().write(out);
    }
}

impl<T: Value> Value for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_slice().write(out);
    }
}

/// An empty list.
pub(crate) const NOTHING: [&str; 0] = [];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_absent_ones_are_left_out() {
        let json = object! {
            "z": "a\"\n", "a": Some(1_u64), "m": None::<&str>, "n": Null, "l": ["x"], "o": object! {},
        };
        let text = String::from_utf8(json.0).unwrap();
        assert_eq!(text, r#"{"z":"a\"\n","a":1,"n":null,"l":["x"],"o":{}}"#);
    }
}
