{{/* The name of an image: by digest where one is given, by tag where not. */}}
{{- define "casa.image" -}}
{{- $image := get .root.Values.images .name -}}
{{- if and .root.Values.requireDigests (not $image.digest) -}}
{{- fail (printf "images.%s.digest is missing: requireDigests is set, so write the sha256 that was tested" .name) -}}
{{- end -}}
{{- printf "%s/%s:%s" .root.Values.registry $image.name $image.tag -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* What all objects of a component are called by. */}}
{{- define "casa.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: casa
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "casa.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* The metadata of a pod: labels, and who may ask it for figures. */}}
{{- define "casa.podMetadata" -}}
labels:
  {{- include "casa.labels" . | nindent 2 }}
{{- $watched := and .figures .root.Values.monitoring.namespace }}
{{- if or .config $watched }}
annotations:
  {{- with .config }}
  # pods are replaced when their configuration has changed
  casa/configuration: {{ . | sha256sum | quote }}
  {{- end }}
  {{- if $watched }}
  prometheus.io/scrape: "true"
  prometheus.io/path: /metrics
  prometheus.io/port: {{ .figures | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What every pod starts with: no API token, no root. */}}
{{- define "casa.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .gid | default 0 }}
  fsGroup: {{ .gid | default 0 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has: nothing to write to but what is mounted. */}}
{{- define "casa.container" -}}
image: {{ include "casa.image" (dict "root" .root "name" .image) }}
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  requests: {cpu: {{ .resources.cpu | quote }}, memory: {{ .resources.memory }}}
  limits: {cpu: {{ .resources.cpuLimit | quote }}, memory: {{ .resources.memory }}}
{{- end }}

{{/* Folders of the node that containers see, such as /cvmfs. */}}
{{- define "casa.nodeMounts" -}}
{{- range $index, $folder := .Values.nodeFolders }}
- {name: node-{{ $index }}, mountPath: {{ $folder | quote }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "casa.nodeVolumes" -}}
{{- range $index, $folder := .Values.nodeFolders }}
- {name: node-{{ $index }}, hostPath: {path: {{ $folder | quote }}, type: Directory}}
{{- end }}
{{- end }}

{{/* The site's file, the certificates for Dask, and room to write: Casa's own pods. */}}
{{- define "casa.mounts" -}}
- {name: site, mountPath: /etc/casa-env, readOnly: true}
- {name: dask-tls, mountPath: /etc/casa-dask-tls, readOnly: true}
- {name: scratch, mountPath: /scratch}
- {name: tmp, mountPath: /tmp}
{{- include "casa.nodeMounts" . }}
{{- end }}

{{- define "casa.volumes" -}}
- {name: site, configMap: {name: casa-site}}
- name: dask-tls
  secret: {secretName: {{ .Values.dask.tlsSecret }}, optional: false, defaultMode: 0440}
- {name: scratch, emptyDir: {sizeLimit: {{ .Values.scratch }}}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- include "casa.nodeVolumes" . }}
{{- end }}

{{/* Two variables from a secret: the object store's keys. */}}
{{- define "casa.storeKeys" -}}
{{- with .Values.objectStore }}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: access-key}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: secret-key}}
- {name: AWS_DEFAULT_REGION, value: {{ .region }}}
{{- end }}
{{- end }}

{{/* One string, number, boolean or list as TOML. JSON's are TOML's, too. */}}
{{- define "casa.toml" -}}
{{- if kindIs "float64" . }}{{ if eq . (floor .) }}{{ . | int64 }}{{ else }}{{ . }}{{ end }}{{ else }}{{ . | toRawJson }}{{ end }}
{{- end }}

{{- define "casa.host" -}}
{{ .name }}.{{ .root.Release.Namespace }}
{{- end }}

{{/* A disruption budget, which lets nodes be emptied one pod at a time. */}}
{{- define "casa.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels:
    {{- include "casa.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .unavailable | default 1 }}
  selector:
    matchLabels:
      {{- include "casa.selector" . | nindent 6 }}
{{- end }}

{{/* A plain root:// reader waits for a dead cache for minutes; these are casa_env's bounds. */}}
{{- define "casa.xrootdWaiting" -}}
- {name: XRD_CONNECTIONWINDOW, value: "5"}
- {name: XRD_CONNECTIONRETRY, value: "1"}
- {name: XRD_REQUESTTIMEOUT, value: "60"}
- {name: XRD_STREAMTIMEOUT, value: "30"}
- {name: XRD_STREAMERRORWINDOW, value: "5"}
- {name: XRD_TIMEOUTRESOLUTION, value: "1"}
{{- end }}
