//! Walking boxes (ISO/IEC 14496-12 §4.2).

use super::{super::Read, LARGEST_TABLE, Trouble};
use mp4_atom::Atom;
use std::{
    fs::File,
    io::{BufReader, Cursor, Read as _, Seek as _, SeekFrom},
};

/// A file has at most this many boxes side by side: fragments of one frame each for 18 hours.
const MOST: usize = 4_000_000;

/// The boxes in a container's body.
pub(super) struct Boxes<'a> {
    rest: &'a [u8],
}

impl<'a> Boxes<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn split(&mut self) -> Option<([u8; 4], &'a [u8])> {
        let (start, rest) = self.rest.split_first_chunk::<8>()?;
        let [a, b, c, d, kind @ ..] = *start;
        let (size, rest) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (rest.len(), rest),
            1 => {
                let (size, rest) = rest.split_first_chunk::<8>()?;
                (
                    usize::try_from(u64::from_be_bytes(*size).checked_sub(16)?).ok()?,
                    rest,
                )
            }
            size => (size.checked_sub(8)? as usize, rest),
        };
        let (body, rest) = rest.split_at_checked(size)?;
        self.rest = rest;
        Some((kind, body))
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Read<([u8; 4], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        // Containers of some writers end in four zero bytes, or a few more.
        if self.rest.len() < 8 {
            return None;
        }
        let item = self.split();
        if item.is_none() {
            self.rest = &[];
        }
        Some(item.ok_or_else(|| Trouble::damaged("an MP4 box is longer than what it is in")))
    }
}

/// The first box of that kind.
pub(super) fn find(body: &[u8], kind: [u8; 4]) -> Read<Option<&[u8]>> {
    for item in Boxes::of(body) {
        let (found, body) = item?;
        if found == kind {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

/// The same, where there must be one.
pub(super) fn one(body: &[u8], kind: [u8; 4]) -> Read<&[u8]> {
    find(body, kind)?
        .ok_or_else(|| Trouble::damaged(format!("the MP4 box `{}` is missing", kind.escape_ascii())))
}

/// The first box of that kind, decoded.
pub(super) fn decode_if<T: Atom>(body: &[u8], kind: [u8; 4]) -> Read<Option<T>> {
    find(body, kind)?.map(|body| decode_body(body, kind)).transpose()
}

/// The same, where there must be one.
pub(super) fn decode<T: Atom>(body: &[u8], kind: [u8; 4]) -> Read<T> {
    decode_body(one(body, kind)?, kind)
}

pub(super) fn decode_body<T: Atom>(body: &[u8], kind: [u8; 4]) -> Read<T> {
    T::decode_body(&mut Cursor::new(body))
        .map_err(|error| Trouble::damaged(format!("the MP4 box `{}`: {error}", kind.escape_ascii())))
}

/// A box of the file: where it begins, where its body does and where it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: [u8; 4],
    pub(super) begin: u64,
    pub(super) body: u64,
    pub(super) end: u64,
}

/// Calls `each` with the boxes of the file, until it has an answer.
pub(super) fn walk<T>(
    file: &mut BufReader<File>,
    mut each: impl FnMut(&mut BufReader<File>, Place) -> Read<Option<T>>,
) -> Read<Option<T>> {
    let length = file.get_ref().metadata()?.len();
    let mut begin = 0;
    for _ in 0..MOST {
        if begin == length {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(begin))?;
        let mut start = [0; 8];
        file.read_exact(&mut start)?;
        let [a, b, c, d, kind @ ..] = start;
        let (head, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, length - begin),
            1 => {
                let mut size = [0; 8];
                file.read_exact(&mut size)?;
                (16, u64::from_be_bytes(size))
            }
            size => (8, u64::from(size)),
        };
        let end = begin
            .checked_add(size)
            .filter(|end| size >= head && *end <= length);
        let Some(end) = end else {
            // A recording that was cut off has its pictures' last box cut off; what it needs may come before.
            return Err(Trouble::damaged(format!(
                "the file is cut off or damaged: the MP4 box `{}` goes beyond its end",
                kind.escape_ascii()
            )));
        };
        let place = Place {
            kind,
            begin,
            body: begin + head,
            end,
        };
        if let Some(answer) = each(file, place)? {
            return Ok(Some(answer));
        }
        begin = end;
    }
    Err(Trouble::damaged("there are too many boxes in this MP4"))
}

/// The body of a box that is small enough for memory.
pub(super) fn read_body(file: &mut BufReader<File>, place: Place) -> Read<Vec<u8>> {
    let size = place.end - place.body;
    if size > LARGEST_TABLE {
        return Err(Trouble::damaged(format!(
            "the MP4 box `{}` has {size} bytes, which is too much",
            place.kind.escape_ascii()
        )));
    }
    file.seek(SeekFrom::Start(place.body))?;
    let mut body = vec![0; size as usize];
    file.read_exact(&mut body)?;
    Ok(body)
}

/// The body of the file's `moov`.
pub(super) fn find_moov(file: &mut BufReader<File>) -> Read<Vec<u8>> {
    let moov = walk(file, |file, place| match &place.kind {
        b"moov" => read_body(file, place).map(Some),
        _ => Ok(None),
    })?;
    moov.ok_or_else(|| {
        Trouble::damaged("the MP4 has no table of its frames (`moov`): the recording was cut off")
    })
}
