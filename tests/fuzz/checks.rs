//! What must hold for any bytes: the fuzz targets and the replay of their corpora check the same.

use std::io::Cursor;

use trace::Place;
use trace::decode::{Decoder, Envelope};
use trace::lines::{LineReader, Piece, Position, Splitter};
use trace::record::{Body, Event, Item};
use trace::session::Format;

/// The longest line in these checks, so that small inputs have longer ones.
const LIMIT: usize = 600;

/// One line, taken for a record of any format.
pub(crate) fn record(line: &[u8]) {
    let _ = Envelope::read(line);
    for format in [Format::Spine, Format::Rollout, Format::Bundle] {
        let place = Place { file: 1, line: 2, offset: 3, len: 4 };
        match Decoder::new(format).decode(line, place) {
            Ok(record) => {
                assert_eq!(record.place, place);
                assert!(head(&record.body).len() <= 512);
                assert_eq!(Decoder::new(format).decode(line, place), Ok(record));
            }
            Err(error) => assert!(error.byte <= line.len(), "{error}"),
        }
    }
}

fn head<'a>(body: &'a Body<'_>) -> &'a str {
    match body {
        Body::Event { event: Event::ExecEnd(end), .. } => &end.head,
        Body::Event { event: Event::PatchEnd(end), .. } => &end.head,
        Body::Item { item: Item::Output { head, .. }, .. } => head,
        _ => "",
    }
}

/// A file of either format: the first byte says how it is cut into pieces, the others are the file.
pub(crate) fn file(format: Format, data: &[u8]) {
    let Some((&cut, text)) = data.split_first() else { return };
    let whole = read(format, &[text]);
    let pieces: Vec<&[u8]> = text.chunks(usize::from(cut) + 1).collect();
    assert_eq!(read(format, &pieces), whole);

    let mut seen = Seen::new(format);
    let splitter = Splitter::new(0, Position::default()).with_limit(LIMIT);
    let mut reader = LineReader::with_chunk(Cursor::new(text), splitter, usize::from(cut) + 1)
        .expect("memory can be read");
    reader.read_to_end(|piece| seen.piece(piece)).expect("memory can be read");
    reader.into_parts().1.finish(|piece| seen.piece(piece));
    assert_eq!(seen.seen, whole);

    // Reading on from where another reader stood gives the rest.
    let half = text.get(..text.len() / 2).unwrap_or_default();
    let mut first = Seen::new(format);
    let mut splitter = Splitter::new(0, Position::default()).with_limit(LIMIT);
    splitter.feed(half, |piece| first.piece(piece));
    let mut reader =
        LineReader::new(Cursor::new(text), Splitter::new(0, splitter.position()).with_limit(LIMIT))
            .expect("memory can be read");
    reader.read_to_end(|piece| first.piece(piece)).expect("memory can be read");
    reader.into_parts().1.finish(|piece| first.piece(piece));
    assert_eq!(first.seen, whole);
}

fn read(format: Format, pieces: &[&[u8]]) -> Vec<String> {
    let mut seen = Seen::new(format);
    let mut splitter = Splitter::new(0, Position::default()).with_limit(LIMIT);
    for piece in pieces {
        splitter.feed(piece, |piece| seen.piece(piece));
    }
    splitter.finish(|piece| seen.piece(piece));
    seen.seen
}

/// What was read, as text that can be compared.
struct Seen {
    decoder: Decoder,
    seen: Vec<String>,
}

impl Seen {
    fn new(format: Format) -> Self {
        Self { decoder: Decoder::new(format), seen: Vec::new() }
    }

    fn piece(&mut self, piece: Piece<'_>) {
        self.seen.push(match piece {
            Piece::Line { place, bytes } => {
                assert!(bytes.len() <= LIMIT && bytes.len() == place.len as usize);
                let mut fresh = Decoder::new(self.decoder.format());
                let record = self.decoder.decode(bytes, place);
                assert_eq!(record, fresh.decode(bytes, place), "the lines before make no difference");
                format!("{place:?} {record:?}")
            }
            Piece::Oversize { place, len } => format!("{place:?} {len}"),
        });
    }
}
