{{/*
Checks that the schema cannot make, or not with a sentence: values that are missing or contradict each
other. A message never repeats a credential.
*/}}

{{- define "fleet.checkRelease" -}}
{{- $kafka := .Values.kafka -}}
{{- $security := $kafka.security -}}
{{- if not .Values.stepGroups -}}
{{- fail "stepGroups is empty, so there is nothing to run; add one, such as `joke: {module: fleet.joke, workflow: joke}`" -}}
{{- end -}}
{{- if not $kafka.broker -}}
{{- fail "kafka.broker is empty; set it to kafka://host:port[,host:port...]" -}}
{{- end -}}
{{- if contains "@" $kafka.broker -}}
{{- fail "kafka.broker carries credentials; put them into a Secret and name it in kafka.security.existingSecret" -}}
{{- end -}}
{{- if and (hasPrefix "SASL" $security.protocol) (not $security.existingSecret) -}}
{{- fail (printf "kafka.security.protocol is %s, which needs a user and a password; name a Secret that holds them in kafka.security.existingSecret" $security.protocol) -}}
{{- end -}}
{{- if and $security.existingSecret (not (hasPrefix "SASL" $security.protocol)) -}}
{{- fail (printf "kafka.security.existingSecret is given, but kafka.security.protocol is %s, which sends no credentials; use SASL_SSL, or drop the Secret" $security.protocol) -}}
{{- end -}}
{{- if and $security.tls.existingSecret (not (hasSuffix "SSL" $security.protocol)) -}}
{{- fail (printf "kafka.security.tls.existingSecret is given, but kafka.security.protocol is %s, which does not encrypt; use SSL or SASL_SSL, or drop the Secret" $security.protocol) -}}
{{- end -}}
{{- if ne (empty $security.tls.certKey) (empty $security.tls.keyKey) -}}
{{- fail "a client's certificate goes with its key; set both of kafka.security.tls.certKey and keyKey, or none" -}}
{{- end -}}
{{- if and $security.tls.certKey (not $security.tls.existingSecret) -}}
{{- fail "kafka.security.tls.certKey is given without a Secret to find it in; name it in kafka.security.tls.existingSecret" -}}
{{- end -}}
{{- if .Values.exporter.enabled -}}
{{- include "fleet.checkExporter" . -}}
{{- end -}}
{{- end }}

{{- define "fleet.checkExporter" -}}
{{- if not .Values.image.repository -}}
{{- fail "exporter.enabled: image.repository is empty, and the exporter runs from the release's image; set it, or disable the exporter" -}}
{{- end -}}
{{- if hasKey .Values.stepGroups "exporter" -}}
{{- fail "stepGroups.exporter would have the name of the exporter in the cluster; name the entry otherwise, or disable exporter.enabled" -}}
{{- end -}}
{{- $name := include "fleet.exporterName" . -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "exporter.enabled: its name %s has %d characters, and 52 is the most; shorten the release's name, or set fullnameOverride" $name (len $name)) -}}
{{- end -}}
{{- end }}

{{/* (list $ key group) */}}
{{- define "fleet.checkGroup" -}}
{{- $key := index . 1 -}}
{{- $group := index . 2 -}}
{{- $where := printf "stepGroups.%s" $key -}}
{{- $name := include "fleet.workloadName" (list (index . 0) $key) -}}
{{- if not $group.image.repository -}}
{{- fail "image.repository is empty; build an image with your workflows in it and name it here" -}}
{{- end -}}
{{- if not $group.module -}}
{{- fail (printf "%s.module is empty; set it to what `faust -A` takes, such as fleet.joke" $where) -}}
{{- end -}}
{{- if not $group.workflow -}}
{{- fail (printf "%s.workflow is empty; set it to what `fleet run` takes, such as joke or my_package.flows:Joke" $where) -}}
{{- end -}}
{{- /* Kubernetes adds 11 characters in a label that holds 63. */ -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "%s: the workload's name %s has %d characters, and 52 is the most; shorten the release's name, or set fullnameOverride" $where $name (len $name)) -}}
{{- end -}}
{{- if and (eq (toString $group.rollout.maxSurge) "0") (eq (toString $group.rollout.maxUnavailable) "0") -}}
{{- fail (printf "%s.rollout: maxSurge and maxUnavailable are both 0, so nothing could be replaced; raise one" $where) -}}
{{- end -}}
{{- include "fleet.checkEnv" (list $where $group) -}}
{{- include "fleet.checkScaling" (list (index . 0) $where $group) -}}
{{- end }}

{{/* If a variable is set twice, one value wins, and the pod's grace period does not fit. (list where group) */}}
{{- define "fleet.checkEnv" -}}
{{- $where := index . 0 -}}
{{- $ours := dict
  "FLEET_BROKER" "kafka.broker"
  "FLEET_PREFIX" "kafka.prefix"
  "FLEET_PARTITIONS" "kafka.partitions"
  "FLEET_REPLICATION" "kafka.replication"
  "FLEET_EVENT_RETENTION" "kafka.eventRetentionSeconds"
  "FLEET_DATA_DIR" "statefulSet or stateSizeLimit"
  "FLEET_SLOTS" "slots"
  "FLEET_DRAIN_SECONDS" "drainSeconds"
  "FLEET_SESSION_SECONDS" "sessionSeconds"
  "FLEET_INSTANCE_ID" "statefulSet.staticMembership"
  "OPENAI_API_KEY" "llm.existingSecret"
  "OPENAI_BASE_URL" "llm.baseUrl"
  "OPENAI_MODEL" "llm.model"
  "HOME" "extraVolumes"
-}}
{{- range $name, $_ := (index . 1).env -}}
{{- if hasPrefix "FLEET_SECURITY_" $name -}}
{{- fail (printf "%s.env.%s: the chart sets it; use kafka.security instead" $where $name) -}}
{{- else if hasKey $ours $name -}}
{{- fail (printf "%s.env.%s: the chart sets it; use %s instead" $where $name (get $ours $name)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* (list $ where group) */}}
{{- define "fleet.checkScaling" -}}
{{- $kafka := (index . 0).Values.kafka -}}
{{- $where := printf "%s.scaling" (index . 1) -}}
{{- $group := index . 2 -}}
{{- $scaling := $group.scaling -}}
{{- $most := include "fleet.mostWorkers" $group | int -}}
{{- if gt $most (int $kafka.partitions) -}}
{{- fail (printf "%s.%s is %d, but there are %d partitions (kafka.partitions), and a worker without one has nothing to do; lower it" $where (eq $scaling.by "fixed" | ternary "replicas" "max") $most (int $kafka.partitions)) -}}
{{- end -}}
{{- if and (ne $scaling.by "fixed") (gt (int $scaling.min) (int $scaling.max)) -}}
{{- fail (printf "%s.min is %d and max is %d; min must not be more" $where (int $scaling.min) (int $scaling.max)) -}}
{{- end -}}
{{- if eq $scaling.by "hpa" -}}
{{- include "fleet.checkHpa" (list $where $group) -}}
{{- else if eq $scaling.by "keda" -}}
{{- include "fleet.checkKeda" (list $where $group) -}}
{{- end -}}
{{- end }}

{{/* (list where group) */}}
{{- define "fleet.checkHpa" -}}
{{- $where := index . 0 -}}
{{- $group := index . 1 -}}
{{- $hpa := $group.scaling.hpa -}}
{{- if lt (int $group.scaling.min) 1 -}}
{{- fail (printf "%s.min is 0, which a HorizontalPodAutoscaler does not do; set it to 1 or more, or scale by keda" $where) -}}
{{- end -}}
{{- if and (not (int $hpa.cpuPercent)) (not $hpa.metrics) -}}
{{- fail (printf "%s.by is hpa without a metric; set hpa.cpuPercent or hpa.metrics" $where) -}}
{{- end -}}
{{- if and (int $hpa.cpuPercent) (not (dig "requests" "cpu" "" $group.resources)) -}}
{{- fail (printf "%s.hpa.cpuPercent is a part of the CPU request, and there is none; set resources.requests.cpu" $where) -}}
{{- end -}}
{{- end }}

{{/* (list where group) */}}
{{- define "fleet.checkKeda" -}}
{{- $where := index . 0 -}}
{{- $group := index . 1 -}}
{{- $keda := $group.scaling.keda -}}
{{- if eq $keda.trigger "kafka" -}}
{{- if lt (int $group.scaling.min) 1 -}}
{{- fail (printf "%s.min is 0 with the kafka trigger: markers of transactions count as lag for ever, so it can tell neither an idle group from a busy one nor a first event from none; set min to 1 or more, or use the prometheus trigger" $where) -}}
{{- end -}}
{{- if and (contains ":" $group.workflow) (not $keda.kafka.consumerGroup) -}}
{{- fail (printf "%s.keda.kafka.consumerGroup is empty, and it cannot be told from the workflow %s; set it to <prefix>.<workflow>.<group>, which a worker shows as its id when it starts" $where $group.workflow) -}}
{{- end -}}
{{- else if not (and $keda.prometheus.serverAddress $keda.prometheus.query) -}}
{{- fail (printf "%s.keda.trigger is prometheus; set keda.prometheus.serverAddress and query" $where) -}}
{{- end -}}
{{- end }}
