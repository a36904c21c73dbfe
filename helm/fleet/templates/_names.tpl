{{/* Names and labels. A selector's labels never change: they are immutable in the cluster. */}}

{{- define "fleet.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- define "fleet.fullname" -}}
{{- $name := include "fleet.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ .Release.Name }}-{{ $name }}
{{- end }}
{{- end }}

{{/* The name of a step group's workload and of its other objects. (list $ key) */}}
{{- define "fleet.workloadName" -}}
{{ include "fleet.fullname" (index . 0) }}-{{ index . 1 }}
{{- end }}

{{- define "fleet.exporterName" -}}
{{ include "fleet.fullname" . }}-exporter
{{- end }}

{{- define "fleet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fleet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fleet.labels" -}}
{{ include "fleet.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Without versions: a new chart that changes nothing for the workers does not roll them. */}}
{{- define "fleet.podLabels" -}}
{{ include "fleet.selectorLabels" . }}
app.kubernetes.io/part-of: fleet
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels that select the workers of one step group. (list $ key) */}}
{{- define "fleet.workerSelectorLabels" -}}
{{ include "fleet.selectorLabels" (index . 0) }}
app.kubernetes.io/component: worker
fleet/step-group: {{ index . 1 }}
{{- end }}

{{/* (list $ key) */}}
{{- define "fleet.workerLabels" -}}
{{ include "fleet.labels" (index . 0) }}
app.kubernetes.io/component: worker
fleet/step-group: {{ index . 1 }}
{{- end }}

{{- define "fleet.exporterSelectorLabels" -}}
{{ include "fleet.selectorLabels" . }}
app.kubernetes.io/component: exporter
{{- end }}
