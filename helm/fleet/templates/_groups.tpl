{{/*
The step groups for all templates: by name, merged over the defaults, checked.
  {{- range $key, $group := include "fleet.groups" . | fromYaml }}
*/}}
{{- define "fleet.groups" -}}
{{- include "fleet.checkRelease" . -}}
{{- $groups := dict -}}
{{- range $key, $own := .Values.stepGroups -}}
{{- $group := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy ($own | default dict)) -}}
{{- $_ := set $group "image" (mergeOverwrite (deepCopy $.Values.image) $group.image) -}}
{{- include "fleet.checkGroup" (list $ $key $group) -}}
{{- $_ := set $groups $key $group -}}
{{- end -}}
{{- $_ := include "fleet.workflows" $groups -}}
{{ toYaml $groups }}
{{- end }}

{{/* The workload's kind. (group) */}}
{{- define "fleet.kind" -}}
{{ ternary "StatefulSet" "Deployment" .statefulSet.enabled }}
{{- end }}

{{/* "true" if a worker keeps its place in the consumer group over a restart. (group) */}}
{{- define "fleet.isStatic" -}}
{{ and .statefulSet.enabled .statefulSet.staticMembership }}
{{- end }}

{{/* How many workers there can be. (group) */}}
{{- define "fleet.mostWorkers" -}}
{{ eq .scaling.by "fixed" | ternary .scaling.replicas .scaling.max | int }}
{{- end }}

{{/* (list $ group) */}}
{{- define "fleet.consumerGroup" -}}
{{- $kafka := (index . 0).Values.kafka -}}
{{- $group := index . 1 -}}
{{ $group.scaling.keda.kafka.consumerGroup | default (printf "%s.%s.%s" $kafka.prefix $group.workflow $group.group) }}
{{- end }}

{{/* (list $ group) */}}
{{- define "fleet.image" -}}
{{- $image := (index . 1).image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
One step group of each workflow, under a name that an object may have. (groups by name)
It refuses two workflows under one name.
*/}}
{{- define "fleet.workflows" -}}
{{- $workflows := dict -}}
{{- range $key, $group := . -}}
{{- $slug := $group.workflow | lower | replace "_" "-" | replace "." "-" | replace ":" "-" | trimAll "-" -}}
{{- $known := get $workflows $slug -}}
{{- if not $known -}}
{{- $_ := set $workflows $slug $group -}}
{{- else if ne $known.workflow $group.workflow -}}
{{- fail (printf "the workflows %s and %s would have one name, %s, in the cluster; give one of them an entry point with another name" $known.workflow $group.workflow $slug) -}}
{{- end -}}
{{- end -}}
{{ toYaml $workflows }}
{{- end }}
