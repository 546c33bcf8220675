//! What the storage engine says when it fails.

use crate::error::with_remedy;
use std::fmt;
use std::io;

/// A failure of the engine or of the disk under it.
#[derive(Debug)]
pub struct Failure {
    text: String,
    /// Whether what the file holds is no queue, or one that is damaged.
    pub is_damage: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Failure {
        use redb::Error::{
            Corrupted, Io, RepairAborted, TableExists, TableIsMultimap, TableTypeMismatch, TypeDefinitionChanged,
            UpgradeRequired,
        };
        let is_damage = match &error {
            // A file that is no file of the engine's, and one that ends too early.
            Io(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
            Corrupted(_) | RepairAborted | UpgradeRequired(_) | TableExists(_) => true,
            TableIsMultimap(_) | TableTypeMismatch { .. } | TypeDefinitionChanged { .. } => true,
            _ => false,
        };
        Failure { text: error.to_string(), is_damage }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure { text: with_remedy(&error), is_damage: false }
    }
}

macro_rules! failures {
    ($($kind:ident)*) => {
        $(impl From<redb::$kind> for Failure {
            fn from(error: redb::$kind) -> Failure {
                redb::Error::from(error).into()
            }
        })*
    };
}

failures!(CommitError CompactionError DatabaseError SetDurabilityError StorageError TableError TransactionError);
