//! Keys: values as bytes whose order is the order of the values.
//!
//! Every encoding is prefix-free within its type (no encoded key is the beginning of another), so that keys
//! can be put one after the other in a tuple and a range over the first component finds all of its rows.

use uuid::Uuid;

/// A value that can be (part of) a row's key.
///
/// `a < b` must hold exactly if `a`'s bytes sort before `b`'s, and no encoding may be a proper beginning of
/// another one of the same type.
pub trait Key: Sized {
    /// Appends the encoded key to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes one key off the front of `input`; `None` if the bytes are not what [`Key::encode`] writes.
    fn take(input: &mut &[u8]) -> Option<Self>;

    /// Decodes a key that fills `bytes` to the last byte.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let key = Self::take(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

/// Says that `Self` is the first component, or the first components, of the tuple key `K`.
pub trait PrefixOf<K: Key>: Key {}

impl<A: Key, B: Key> PrefixOf<(A, B)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for A {}
impl<A: Key, B: Key, C: Key> PrefixOf<(A, B, C)> for (A, B) {}

/// For a table of a single row.
impl Key for () {
    fn encode(&self, _out: &mut Vec<u8>) {}

    fn take(_input: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

/// Eight bytes, big-endian.
impl Key for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        input.split_off(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
    }
}

/// One byte, for the code of a state or a kind in an index.
impl Key for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        input.split_off_first().copied()
    }
}

/// The sixteen bytes of the id; version 7 ids therefore sort by time.
impl Key for Uuid {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        input.split_off(..16).and_then(|bytes| Uuid::from_slice(bytes).ok())
    }
}

/// The bytes with every `00` written as `00 FF`, then the end mark `00 00`: the mark sorts below any
/// continuation, and cannot occur inside.
impl Key for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            match *input.split_off_first()? {
                0 => match *input.split_off_first()? {
                    0 => return Some(bytes),
                    0xFF => bytes.push(0),
                    _ => return None,
                },
                byte => bytes.push(byte),
            }
        }
    }
}

/// As `Vec<u8>`: strings sort by their UTF-8 bytes.
impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(self.as_bytes(), out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        String::from_utf8(Vec::take(input)?).ok()
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

impl<A: Key, B: Key> Key for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some((A::take(input)?, B::take(input)?, C::take(input)?))
    }
}
