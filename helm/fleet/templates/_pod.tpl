{{/*
All pods share this: the restricted security standard, no token, settings as variables.

The chart makes no ConfigMap. A setting is part of the pod's template, so a change of it rolls the
workers, and the job before an install has it, too.
*/}}

{{/* The head of a pod's spec. (list $ group) */}}
{{- define "fleet.podSpec" -}}
{{- $root := index . 0 -}}
automountServiceAccountToken: false
# Services named like a setting (fleet-...) would become variables.
enableServiceLinks: false
{{- with $root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $name, $id := $root.Values.securityContext }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $name }}: {{ $id | int64 }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* The head of a container. (list $ group) */}}
{{- define "fleet.container" -}}
{{- $group := index . 1 -}}
image: {{ include "fleet.image" . | quote }}
imagePullPolicy: {{ $group.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  readOnlyRootFilesystem: true
{{- end }}

{{/* Variables of every container that talks to the broker. */}}
{{- define "fleet.brokerEnv" -}}
{{- $kafka := .Values.kafka -}}
{{- $security := $kafka.security -}}
- name: FLEET_BROKER
  value: {{ $kafka.broker | quote }}
- name: FLEET_PREFIX
  value: {{ $kafka.prefix | quote }}
- name: FLEET_PARTITIONS
  value: {{ $kafka.partitions | int | quote }}
- name: FLEET_REPLICATION
  value: {{ $kafka.replication | int | quote }}
- name: FLEET_EVENT_RETENTION
  value: {{ $kafka.eventRetentionSeconds | int64 | quote }}
- name: FLEET_SECURITY_PROTOCOL
  value: {{ $security.protocol }}
{{- if $security.existingSecret }}
- name: FLEET_SECURITY_MECHANISM
  value: {{ $security.mechanism }}
- name: FLEET_SECURITY_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $security.existingSecret }}
      key: {{ $security.usernameKey }}
- name: FLEET_SECURITY_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $security.existingSecret }}
      key: {{ $security.passwordKey }}
{{- end }}
{{- if $security.tls.existingSecret }}
- name: FLEET_SECURITY_CA_FILE
  value: /etc/fleet/tls/{{ $security.tls.caKey }}
{{- if $security.tls.certKey }}
- name: FLEET_SECURITY_CERT_FILE
  value: /etc/fleet/tls/{{ $security.tls.certKey }}
- name: FLEET_SECURITY_KEY_FILE
  value: /etc/fleet/tls/{{ $security.tls.keyKey }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where processes may write: the root file system is read-only. */}}
{{- define "fleet.folderEnv" -}}
- name: FLEET_DATA_DIR
  value: /data
- name: HOME
  value: /tmp
{{- end }}

{{/* Variables of every container that runs code of the workflows. (list $ group) */}}
{{- define "fleet.env" -}}
{{- $root := index . 0 -}}
{{- $group := index . 1 -}}
{{- $llm := $root.Values.llm -}}
{{ include "fleet.brokerEnv" $root }}
{{- if $llm.existingSecret }}
- name: OPENAI_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $llm.existingSecret }}
      key: {{ $llm.secretKey }}
{{- end }}
{{- with $llm.baseUrl }}
- name: OPENAI_BASE_URL
  value: {{ . | quote }}
{{- end }}
{{- with $llm.model }}
- name: OPENAI_MODEL
  value: {{ . | quote }}
{{- end }}
{{ include "fleet.folderEnv" $root }}
{{- range $name, $value := $group.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* (list $ group) */}}
{{- define "fleet.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if (index . 0).Values.kafka.security.tls.existingSecret }}
- name: tls
  mountPath: /etc/fleet/tls
  readOnly: true
{{- end }}
{{- with (index . 1).extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (list $ group) */}}
{{- define "fleet.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- with (index . 0).Values.kafka.security.tls }}
{{- if .existingSecret }}
- name: tls
  secret:
    secretName: {{ .existingSecret }}
    # The group's, which the process has by fsGroup.
    defaultMode: 0440
    items:
      {{- range compact (list .caKey .certKey .keyKey) }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- end }}
{{- with (index . 1).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where a pod runs. (group) */}}
{{- define "fleet.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A pod that runs one command of `fleet` and ends. (list $ group arguments) */}}
{{- define "fleet.commandPod" -}}
{{- $root := index . 0 -}}
{{- $group := index . 1 -}}
restartPolicy: Never
{{ include "fleet.podSpec" . }}
containers:
  - name: fleet
    {{- include "fleet.container" . | nindent 4 }}
    command:
      - fleet
      {{- toYaml (index . 2) | nindent 6 }}
    env:
      {{- include "fleet.env" . | nindent 6 }}
    {{- with $group.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {memory: 512Mi}
    volumeMounts:
      {{- include "fleet.mounts" . | nindent 6 }}
volumes:
  {{- include "fleet.volumes" . | nindent 2 }}
{{- include "fleet.placement" $group }}
{{- end }}
