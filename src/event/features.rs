//! What a gateway shows to a script. Everything that differs between releases of Ceph goes by this table, never by the
//! name of a release: 19.2 names its tables as 20.2 does and cannot abort a request, and distributions backport.

/// What was seen in the Lua state of a request, and what follows from it.
///
/// | seen | 16.2 | 18.2 | 19.2 | 20.2 | main |
/// | --- | --- | --- | --- | --- | --- |
/// | `rgw_table` | – | yes | yes | yes | yes |
/// | `paths` | – | – | yes | yes | yes |
///
/// 16.2, 18.2 and 20.2 were run; 19.2 and main were read in Ceph's sources. Two more are looked for where they matter: a
/// request can be aborted where there is a global `RGW_ABORT_REQUEST` (20.2 and main), and the tags of a bucket are known
/// where reading `Request.Bucket.Tags` does not raise (main).
///
/// Without `paths`, tables of one type take each other's place, so that each is read to its end before the next is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The request is a plain table of a script that tries its rules: no field of it raises, and no table takes another's
    /// place.
    pub plain: bool,
    /// There is a global `RGW`.
    pub rgw_table: bool,
    /// RGW's tables are named by their path, such as `Request.Bucket`, and no longer by their type.
    pub paths: bool,
}

impl Features {
    /// Whether `Request.User` and `Request.CopyFrom` can be read. On 16.2 the first throws a C++ exception, and indexing the
    /// second is a segmentation fault.
    pub fn has_user_and_copy_source(self) -> bool {
        self.rgw_table
    }

    /// Whether `pairs` keeps its place in a map, which can then be walked once in a state, and gives keys as userdata. Before,
    /// it looks the last key up, so that a key that is there twice never ends, and one with a NUL aborts radosgw.
    pub fn walks_maps_once(self) -> bool {
        self.paths
    }

    /// Whether an owner can be an account (`Request.Bucket.Account`), and native records name owners as `tenant$id`.
    pub fn has_accounts(self) -> bool {
        self.paths
    }

    /// Whether `Request.Tags` of a copy with new metadata are those of the source, which the copy does not get.
    pub fn shows_source_tags_of_copy(self) -> bool {
        self.paths
    }

    /// Whether native records name the region.
    pub fn records_have_region(self) -> bool {
        self.rgw_table
    }

    /// Whether a completed upload shows the size 0 unless the completion was repeated.
    pub fn completions_have_no_size(self) -> bool {
        self.rgw_table
    }
}

#[cfg(test)]
impl Features {
    /// Those of 16.2.
    pub const PACIFIC: Features = Features { plain: false, rgw_table: false, paths: false };
    /// Those of 18.2.
    pub const REEF: Features = Features { rgw_table: true, ..Features::PACIFIC };
    /// Those of 20.2.
    pub const TENTACLE: Features = Features { paths: true, ..Features::REEF };
}
