#!/usr/bin/env bash
# Migrate the database, and replace the pods by those of the image IMAGE, in the cluster of kubectl
# or in EKS_CLUSTER.
#
# What is applied is deploy/kubernetes/overlays/production, or the folder OVERLAY. New pods are not ready
# before the schema fits, and old ones go on until new ones are ready; if that fails, so does this.
set -euo pipefail
overlay=${OVERLAY:-deploy/kubernetes/overlays/production}
namespace=${NAMESPACE:-shop}
if [[ -n ${EKS_CLUSTER:-} ]]; then
    aws eks update-kubeconfig --name "$EKS_CLUSTER"
fi

# Kustomize reads only below the folder that it is told of and its neighbours, so this is one.
release=$(mktemp -d "$(dirname "$overlay")/.release-XXXXXX")
trap 'rm -rf "$release"' EXIT
name=$(kubectl kustomize "$overlay" | sed -n 's/^ *\(- \)\?image: \([^ ]*shop\)[:@].*/\2/p' | head -n 1)
cat > "$release/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: ["../$(basename "$overlay")"]
images:
  - name: $name
    newName: ${IMAGE%@*}
    digest: ${IMAGE#*@}
END

# A finished Job cannot be changed.
kubectl --namespace "$namespace" delete job shop-migrate --ignore-not-found
kubectl apply --kustomize "$release"
# Whichever comes first: waiting for one of them alone would sit out the other.
until state=$(kubectl --namespace "$namespace" get job shop-migrate --output \
    'jsonpath={.status.conditions[?(@.status=="True")].type}') && [[ $state =~ Complete|Failed ]]; do
    if ((SECONDS > ${MIGRATE_SECONDS_MAX:-3600})); then
        echo "The migration did not end in time; see: kubectl --namespace $namespace logs job/shop-migrate" >&2
        exit 1
    fi
    sleep "${PAUSE_SECONDS:-5}"
done
if [[ $state =~ Failed ]]; then
    echo "The migration failed; see: kubectl --namespace $namespace logs job/shop-migrate" >&2
    exit 1
fi
kubectl --namespace "$namespace" rollout status deployment/shop --timeout=30m
