#!/usr/bin/env bash
# Migrate the database, then replace the tasks of the service by those of the image IMAGE, on ECS.
#
# The definitions are those of deploy/ecs/, or of the folder ECS. Nothing is replaced if migrating
# fails; and if the new tasks do not become healthy, ECS goes back to the old ones, and this fails.
set -euo pipefail
definitions=${ECS:-deploy/ecs}
export AWS_PAGER=

# The revision of a definition with this image; each release has its own, to go back to.
register() {
    aws ecs register-task-definition --query taskDefinition.taskDefinitionArn --output text \
        --cli-input-json "$(jq --arg image "$IMAGE" '.containerDefinitions[].image = $image' "$definitions/$1")"
}

field() { jq --raw-output "$1" "$definitions/$2"; }

migrate() {
    local cluster task end_by
    cluster=$(field .cluster migrate-run.json)
    task=$(aws ecs run-task --query 'tasks[0].taskArn' --output text --cli-input-json \
        "$(jq --arg revision "$(register migrate-task-definition.json)" '.taskDefinition = $revision' \
            "$definitions/migrate-run.json")")
    echo "Migrating: $task"
    end_by=$((SECONDS + ${MIGRATE_SECONDS_MAX:-3600}))
    # The command itself waits for 10 minutes.
    until aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$task"; do
        if ((SECONDS > end_by)); then
            echo "The migration did not end in time. It goes on; nothing was replaced." >&2
            return 1
        fi
    done
    local exit_code
    exit_code=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$task" \
        --query 'tasks[0].containers[0].exitCode' --output text)
    if [[ $exit_code != 0 ]]; then
        echo "The migration failed (exit code $exit_code). Nothing was replaced: see its log." >&2
        return 1
    fi
}

serve() {
    local cluster service revision serving
    cluster=$(field .cluster service.json)
    service=$(field .serviceName service.json)
    revision=$(register task-definition.json)
    aws ecs update-service --cluster "$cluster" --service "$service" --task-definition "$revision" \
        --query service.serviceArn --output text
    aws ecs wait services-stable --cluster "$cluster" --services "$service"
    serving=$(aws ecs describe-services --cluster "$cluster" --services "$service" \
        --query 'services[0].taskDefinition' --output text)
    if [[ $serving != "$revision" ]]; then
        echo "ECS went back to $serving: the new tasks did not become healthy." >&2
        return 1
    fi
    echo "Serving: $serving"
}

migrate
serve
