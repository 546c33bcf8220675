"""A volume of files, such as a Secret or a ConfigMap, as the kubelet lays it out and exchanges it.

The files are in a directory named after the time, `..data` is a symbolic link to it, and what the container opens are
symbolic links through `..data`. All of it changes at once when another link is renamed to `..data`.
"""

import datetime
import shutil


class KubernetesVolume:
    """The volume in `directory`, which is what is mounted."""

    def __init__(self, directory):
        self.directory = directory
        self._files = {}

    def write(self, files, modes=None):
        """Puts these files in place of all that were there: names and texts. Without a mode everybody can read them."""
        now = datetime.datetime.now(datetime.UTC)
        new = self.directory / now.strftime("..%Y_%m_%d_%H_%M_%S.%f")
        new.mkdir(mode=0o755)
        for name, text in files.items():
            (new / name).write_text(text)
            (new / name).chmod((modes or {}).get(name, 0o644))
        data, link = self.directory / "..data", self.directory / "..data_tmp"
        old = data.resolve() if data.is_symlink() else None
        link.symlink_to(new.name)
        link.rename(data)
        for name in files.keys() - self._files.keys():
            (self.directory / name).symlink_to(f"..data/{name}")
        for name in self._files.keys() - files.keys():
            (self.directory / name).unlink()
        if old:
            shutil.rmtree(old)
        self._files = dict(files)

    def update(self, files, modes=None):
        """Exchanges some of the files; the others have the same text in the new directory."""
        self.write(self._files | files, modes)
