{{/* The pod of a worker, the same in a Deployment and a StatefulSet. (list $ key group) */}}
{{- define "fleet.workerPod" -}}
{{- $root := index . 0 -}}
{{- $key := index . 1 -}}
{{- $group := index . 2 -}}
{{- $pair := list $root $group -}}
metadata:
  labels:
    {{- include "fleet.podLabels" $root | nindent 4 }}
    app.kubernetes.io/component: worker
    fleet/step-group: {{ $key }}
    {{- with $group.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $group.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "fleet.podSpec" $pair | nindent 2 }}
  # A worker ends by itself 30 seconds after its drain; only then may it be killed.
  terminationGracePeriodSeconds: {{ add $group.drainSeconds 40 }}
  {{- with include "fleet.topologySpread" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "fleet.placement" $group | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: worker
      {{- include "fleet.container" $pair | nindent 6 }}
      # No shell, so the signal to stop reaches the worker.
      command: [faust, -A, {{ $group.module | quote }}, worker, -l, {{ $group.logLevel }}, --web-port, "6066"]
      env:
        {{- include "fleet.env" $pair | nindent 8 }}
        - name: FLEET_SLOTS
          value: {{ $group.slots | int | quote }}
        - name: FLEET_DRAIN_SECONDS
          value: {{ $group.drainSeconds | int | quote }}
        {{- $isStatic := include "fleet.isStatic" $group | eq "true" }}
        - name: FLEET_SESSION_SECONDS
          value: {{ $group.sessionSeconds | default ($isStatic | ternary 30 6) | int | quote }}
        {{- if $isStatic }}
        - name: FLEET_INSTANCE_ID
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        {{- end }}
      {{- with $group.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 6066
      {{- include "fleet.probes" $group.probes | nindent 6 }}
      resources:
        {{- toYaml $group.resources | nindent 8 }}
      volumeMounts:
        - name: state
          mountPath: /data
        {{- include "fleet.mounts" $pair | nindent 8 }}
  volumes:
    {{- if not $group.statefulSet.enabled }}
    - name: state
      emptyDir:
        sizeLimit: {{ $group.stateSizeLimit }}
    {{- end }}
    {{- include "fleet.volumes" $pair | nindent 4 }}
{{- end }}

{{/* (probes) */}}
{{- define "fleet.probes" -}}
startupProbe:
  httpGet: {path: /live, port: http}
  {{- toYaml .startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /live, port: http}
  {{- toYaml .live | nindent 2 }}
readinessProbe:
  httpGet: {path: /ready, port: http}
  {{- toYaml .ready | nindent 2 }}
{{- end }}

{{/* (list $ key group) */}}
{{- define "fleet.topologySpread" -}}
{{- $labels := include "fleet.workerSelectorLabels" . -}}
{{- $group := index . 2 -}}
{{- with $group.topologySpread -}}
topologySpreadConstraints:
  {{- range . }}
  - topologyKey: {{ .topologyKey }}
    maxSkew: {{ .maxSkew | default 1 | int }}
    whenUnsatisfiable: {{ .whenUnsatisfiable | default "ScheduleAnyway" }}
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
    {{- if not $group.statefulSet.enabled }}
    # During a rollout the old workers do not count.
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}
