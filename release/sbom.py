"""The bill of materials: what an installation of the package with every extra brings along, as CycloneDX.

Reproducible: the same lock, artefacts and commit give the same bytes. Its serial number follows from its
content, its time is the commit's.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

from cyclonedx import model
from cyclonedx.model import bom as bom_model
from cyclonedx.model import component as component_model
from cyclonedx.output import json as json_output
from packageurl import PackageURL

from release.checkout import Checkout
from release.context import Context
from release.locks import RUNTIME
from release.model import Artifact
from release.project import Project
from release.rules.audit import Locked, locked

# Its classes lose their signatures in the library's own decorators.
_library: Any = component_model
_bom: Any = bom_model
_model: Any = model
_output: Any = json_output

__all__ = ["FILE", "make", "of_checkout"]

FILE = "sbom.cdx.json"
_NAMESPACE = uuid.UUID("8f7c1a52-0a5e-5d0b-9c5e-2f6a3b1d4c70")
"""Serial numbers are UUIDs (version 5) in this namespace, of the artefacts' digests and the lock."""


def of_checkout(context: Context, artifacts: Iterable[Artifact]) -> str:
    """The bill of materials of the checked-out commit, with the digests of a release's files."""
    lock = (context.root / "release" / "locks" / f"{RUNTIME}.txt").read_text(encoding="utf-8")
    epoch = Checkout(context.root, context.runner).epoch()
    return make(
        Project.read(context.root),
        locked(lock, everywhere=True),
        commit_time=dt.datetime.fromtimestamp(epoch, dt.UTC),
        artifacts=artifacts,
    )


def make(
    project: Project,
    dependencies: Iterable[Locked],
    *,
    commit_time: dt.datetime,
    artifacts: Iterable[Artifact] = (),
) -> str:
    """Write the bill of materials.

    Args:
        project: What it is about.
        dependencies: What the lock names, for every platform.
        commit_time: When the commit was made; stands as the document's time.
        artifacts: The release's files; their digests stand in the document.

    Returns:
        CycloneDX 1.6 as JSON, with a final line feed.
    """
    pinned, files = sorted(set(dependencies)), sorted(artifacts, key=lambda artifact: artifact.name)
    subject = _library.Component(
        name=project.name,
        version=str(project.version),
        type=_library.ComponentType.LIBRARY,
        bom_ref="subject",
        purl=PackageURL("pypi", name=project.normalised, version=str(project.version)),
        components=[
            _library.Component(
                name=artifact.name,
                type=_library.ComponentType.FILE,
                bom_ref=f"file:{artifact.name}",
                hashes=[_model.HashType(alg=_model.HashAlgorithm.SHA_256, content=artifact.sha256)],
            )
            for artifact in files
        ],
    )
    components = [
        _library.Component(
            name=one.name,
            version=one.version,
            type=_library.ComponentType.LIBRARY,
            bom_ref=f"{one.name}=={one.version}",
            purl=PackageURL("pypi", name=one.name, version=one.version),
        )
        for one in pinned
    ]
    content = repr((project.normalised, str(project.version), pinned, files))
    bom = _bom.Bom(
        components=components,
        serial_number=uuid.uuid5(_NAMESPACE, content),
        metadata=_bom.BomMetaData(component=subject, timestamp=commit_time),
    )
    bom.register_dependency(subject, components)
    return f"{_output.JsonV1Dot6(bom).output_as_string(indent=2)}\n"
