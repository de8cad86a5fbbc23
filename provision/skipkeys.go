package provision

// skipKeys are the panes of Setup Assistant that can be skipped (Apple: SkipKeys), those of older systems included.
var skipKeys = []string{
	"Accessibility", "ActionButton", "AdditionalPrivacySettings", "AgeAssurance", "AgeBasedSafetySettings", "Android",
	"Appearance", "AppleID", "AppStore", "Biometric", "CameraButton", "DeviceToDeviceMigration", "Diagnostics",
	"DisplayTone", "EnableLockdownMode", "FileVault", "HomeButtonSensitivity", "iCloudDiagnostics", "iCloudStorage",
	"iMessageAndFaceTime", "Intelligence", "Keyboard", "Location", "MessagingActivationUsingPhoneNumber", "Multitasking",
	"OnBoarding", "OSShowcase", "Passcode", "Payment", "Privacy", "Restore", "RestoreCompleted", "Safety",
	"SafetyAndHandling", "ScreenSaver", "ScreenTime", "SIMSetup", "Siri", "SoftwareUpdate", "SpokenLanguage", "TapToSetup",
	"TermsOfAddress", "Tips", "TOS", "TVHomeScreenSync", "TVProviderSignIn", "TVRoom", "UnlockWithWatch", "UpdateCompleted",
	"Wallpaper", "WatchMigration", "WebContentFiltering", "Welcome", "Zoom",
}
