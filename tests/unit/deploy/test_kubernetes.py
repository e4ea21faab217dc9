"""The manifests: valid for Kubernetes one by one, and as Kustomize puts them together."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cloud_server.__main__ import command as cloud_command
from edge_client.__main__ import cli as edge_commands
from tests.support.prometheus import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
VERSION = "1.34"
ADDS = {"autoscaling": "HorizontalPodAutoscaler", "monitoring": "ServiceMonitor"}
"""The kind of manifest that a component brings."""

FOREIGN = {"ServiceMonitor"}
"""Kinds of the Prometheus operator, which Kubernetes itself has no schema for."""

Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())


def resources(folder: str) -> list[Path]:
    """The files of a base or component that are manifests by themselves."""
    (kustomization,) = read(KUBERNETES / folder / "kustomization.yaml")
    return [KUBERNETES / folder / name for name in kustomization["resources"]]


BASE = resources("base")
ADDED = [path for name in COMPONENTS for path in resources(f"components/{name}")]


def check(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("path", [*BASE, *ADDED, *resources("edge")], ids=lambda path: path.name)
def test_a_manifest_is_valid(path: Path) -> None:
    for manifest in read(path):
        if path in BASE or manifest["kind"] not in FOREIGN:  # a cluster without operators takes the base
            check(manifest)


def test_a_field_that_kubernetes_does_not_know_is_noticed() -> None:
    (manifest,) = read(KUBERNETES / "base/disruption-budget.yaml")
    manifest["spec"]["maxUnavailabel"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        check(manifest)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_a_kustomization_names_files_that_exist_and_leaves_none_out(path: Path) -> None:
    (kustomization,) = read(path)
    named = [*kustomization.get("resources", ()), *(patch["path"] for patch in kustomization.get("patches", ()))]
    assert all((path.parent / name).exists() for name in named)
    assert {file.name for file in path.parent.glob("*.yaml")} - {path.name} == {n for n in named if "/" not in n}


def test_an_edge_is_on_each_labelled_node_and_fetches_its_bundle() -> None:
    made = {manifest["kind"]: manifest for manifest in rendered(KUBERNETES / "edge")}
    assert made.keys() == {"DaemonSet", "NetworkPolicy", "ConfigMap"}
    for manifest in made.values():
        check(manifest)
    pod = made["DaemonSet"]["spec"]["template"]["spec"]
    (container,), (fetching,) = pod["containers"], pod["initContainers"]
    assert pod["nodeSelector"] == {"neucodex.io/edge": "true"}
    variables = {entry["name"] for entry in container["env"]} | made["ConfigMap"]["data"].keys()
    assert variables <= {str(parameter.envvar) for parameter in edge_commands.commands["classify"].params}
    assert container["envFrom"] == [{"configMapRef": {"name": made["ConfigMap"]["metadata"]["name"]}}]
    probe = container["livenessProbe"]["exec"]["command"][-1]
    assert probe.replace('"', '\\"') in (ROOT / "deploy/edge.Dockerfile").read_text(), "the image's own check"
    assert_fetched(pod, fetching)
    label = {"app.kubernetes.io/name": "neucodex-edge"}
    assert made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == label
    assert label.items() <= made["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items()


def test_clouds_may_fetch_their_bundles_too(tmp_path: Path) -> None:
    made = {manifest["kind"]: manifest for manifest in kustomize("registry", tmp_path)}
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (fetching,) = pod["initContainers"]
    assert_fetched(pod, fetching)
    ports = {port["port"] for rule in made["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 443}


def assert_fetched(pod: Manifest, fetching: Manifest) -> None:
    """Bundles come by oras into a folder that lives as long as the pod; nobody fills a volume."""
    assert fetching["args"] == ["pull", "--output", "/bundles", "$(REFERENCE)"]
    named = fetching["env"][0]["valueFrom"]["configMapKeyRef"]
    assert named == {"name": "neucodex-bundles", "key": "reference"}
    assert fetching["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["bundles"].keys() == {"name", "emptyDir"}
    mounts = {mount["name"]: mount for mount in fetching["volumeMounts"]}
    assert mounts["bundles"] == {"name": "bundles", "mountPath": "/bundles"}
    assert mounts.keys() <= volumes.keys()


def test_whoever_selects_the_clouds_selects_by_their_label() -> None:
    added = [path for name in ADDS for path in resources(f"components/{name}")]
    by_kind = {manifest["kind"]: manifest["spec"] for path in [*BASE, *added] for manifest in read(path)}
    label = {"app.kubernetes.io/name": "neucodex-cloud"}
    assert by_kind["Deployment"]["template"]["metadata"]["labels"] == label
    assert by_kind["Deployment"]["selector"]["matchLabels"] == label
    assert by_kind["Service"]["selector"] == label
    assert by_kind["Service"]["clusterIP"] == "None"
    assert by_kind["PodDisruptionBudget"]["selector"]["matchLabels"] == label
    assert by_kind["NetworkPolicy"]["podSelector"]["matchLabels"] == label
    assert by_kind["ServiceMonitor"]["selector"]["matchLabels"] == label
    assert by_kind["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"] == "neucodex-cloud"
    adapter = read(KUBERNETES / "prometheus-adapter.yaml")[0]
    (metric,) = by_kind["HorizontalPodAutoscaler"]["metrics"]
    assert metric["pods"]["metric"]["name"] == adapter["rules"][0]["name"]["as"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu", *COMPONENTS])
def test_an_overlay_as_kustomize_makes_it(overlay: str, tmp_path: Path) -> None:
    made = {manifest["kind"]: manifest for manifest in kustomize(overlay, tmp_path) if not _is_public(manifest)}
    added = {ADDS[overlay]} if overlay in ADDS else set()
    assert made.keys() == {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"} | added
    for manifest in made.values():
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "neucodex-cloud"
        if manifest["kind"] not in FOREIGN:
            check(manifest)
    pod = made["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert variables.keys() <= {str(parameter.envvar) for parameter in cloud_command.params}
    grace = container["lifecycle"]["preStop"]["sleep"]["seconds"] + float(variables["NEUCODEX_DRAIN_TIMEOUT"])
    assert grace < pod["terminationGracePeriodSeconds"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (overlay == "gpu")
    assert (variables.get("NEUCODEX_DEVICE") == "cuda") == (overlay == "gpu")
    probed = {container[probe]["grpc"]["port"] for probe in ("startupProbe", "readinessProbe")}
    assert probed == {port["containerPort"] for port in container["ports"] if port["name"] == "health"}
    assert variables["NEUCODEX_HEALTH"] == f"0.0.0.0:{probed.pop()}"
    reached = [port["port"] for rule in made["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(reached) == ["grpc", "metrics"]
    assert (variables["NEUCODEX_INSECURE"] == "0") == (overlay == "tls")


def kustomize(overlay: str, folder: Path) -> list[Manifest]:
    """What Kustomize prints; of a component, an overlay written here: the CPU one with it."""
    path = KUBERNETES / "overlays" / overlay
    if overlay in COMPONENTS:
        path = folder
        parts = {
            "resources": [os.path.relpath(KUBERNETES / "overlays/cpu", folder)],
            "components": [os.path.relpath(KUBERNETES / "components" / overlay, folder)],
        }
        header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(header | parts))
    return rendered(path)


def rendered(path: Path) -> list[Manifest]:
    """What Kustomize prints of a folder."""
    done = subprocess.run([*kustomize_command(), path], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def kustomize_command() -> list[str]:
    """Kustomize, or kubectl's own; without both the test is skipped."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return command
    pytest.skip("no kustomize and no kubectl here: files were checked one by one")


def _is_public(manifest: Manifest) -> bool:
    if manifest["metadata"]["name"] != "neucodex-cloud-public":
        return False
    check(manifest)
    return True
